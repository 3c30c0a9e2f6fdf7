"""Reads targets from TOML files: graphopt's own, those of other packages, and any file that a user names.

A file may begin with ``base = "NAME"`` and say only what is different from that target.  A package of its own
names the path of its file in the entry-point group ``graphopt.targets``.
"""

from __future__ import annotations

import copyreg
import inspect
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from graphopt.errors import UsageError
from graphopt.targets.contradictions import contradiction
from graphopt.targets.target import Allowed, Grid, Operators, Target, WeightGrid
from graphopt.util.registry import Registry, added
from graphopt.util.text import did_you_mean

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable

    import tomllib
else:
    from importlib.abc import Traversable

    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

GROUP = "graphopt.targets"
HINT = 'begin with a copy of a target in graphopt/targets, or with base = "generic", and change what differs'
ALIASES = {"onnxruntime": "ort-cpu"}
TABLES: Mapping[str, type] = {
    "allowed": Allowed,
    "activation": Grid,
    "weight": WeightGrid,
    "operators": Operators,
}
T = TypeVar("T")


class ProfileError(ValueError):
    """What is wrong in a file, and the key that it is about, with the name of its table before it."""

    def __init__(self, message: str, *key: str) -> None:
        super().__init__(message)
        self.key = key


def names() -> tuple[str, ...]:
    """The targets there are, in alphabetical order: graphopt's own, and those that other packages add."""
    return _registry().names


def load(name: str) -> Target:
    """The target of this name, or of a TOML file: every text that ends in ``.toml`` is a path.

    Raises:
        UsageError: there is no such target, or a file does not describe one; the line at fault is named.
    """
    if name.endswith(".toml"):
        return _read(Path(name).stem, Path(name))
    return _load(ALIASES.get(name, name))


@lru_cache(maxsize=32)
def _load(name: str) -> Target:
    entry = _registry().load(name)
    return entry if isinstance(entry, Target) else _read(name, entry)


@lru_cache(maxsize=1)
def _registry() -> Registry:
    files = resources.files("graphopt.targets").iterdir()
    own = {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}
    return Registry(added(GROUP), kind="target", built_in=own, of=(Target, Traversable))


def _read(name: str, file: Traversable) -> Target:
    text = ""
    try:
        text = file.read_text(encoding="utf-8")
        return _target(name, _table(tomllib.loads(text), (name,)))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"the target {file} cannot be read: {reason}", hint=f"known: {', '.join(names())}"
        ) from error
    except ProfileError as error:
        raise UsageError(
            f"the target {file} is not valid{_line(text, error.key)}: {error}", hint=HINT
        ) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"the target {file} is not valid: {error}", hint=HINT) from error


def _table(table: Mapping[str, Any], above: tuple[str, ...]) -> Mapping[str, Any]:
    """A file's table on top of that of its base."""
    if "base" not in table:
        return table
    base = table["base"]
    if not isinstance(base, str) or base in above:
        raise ProfileError(f"base is the name of another target, not {base!r}", "base")
    entry = _registry().load(ALIASES.get(base, base))
    if isinstance(entry, Target):
        raise ProfileError(f"the target {base} is no file and cannot be a base", "base")
    under = _table(tomllib.loads(entry.read_text(encoding="utf-8")), (*above, base))
    own = {key: value for key, value in table.items() if key != "base"}
    return _laid_over(under, own)


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables in one: the second's values count, within those of ``TABLES`` key by key."""
    made = {**under, **over}
    for key in TABLES:
        if isinstance(under.get(key), Mapping) and isinstance(over.get(key), Mapping):
            made[key] = {**under[key], **over[key]}
    return made


def _target(name: str, table: Mapping[str, Any]) -> Target:
    table = _frozen(table)
    parts: dict[str, Any] = {
        key: _strict(kind, table[key], key) for key, kind in TABLES.items() if key in table
    }
    target = _strict(Target, {**table, **parts, "name": name})
    if (wrong := contradiction(target)) is not None:
        raise ProfileError(wrong[0], *wrong[1])
    return target


def _strict(kind: type[T], values: Any, *table: str) -> T:
    """Build a dataclass from a table; ProfileError for keys that it does not have, or that are missing."""
    if not isinstance(values, Mapping):
        raise ProfileError(f"{' '.join(table)} is a table, not {values!r}", *table)
    parameters = inspect.signature(kind).parameters
    for key in values:
        if key not in parameters:
            what = f"a target has no {key}" if not table else f"{' '.join(table)} has no {key}"
            near = did_you_mean(key, [name for name in parameters if name != "name"])
            raise ProfileError(f"{what}{'; ' + near if near else ''}", *table, key)
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in values]
    if missing:
        raise ProfileError(f"{' '.join(table) or 'it'} lacks {', '.join(missing)}", *table)
    return kind(**values)


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


def _picklable(proxy: MappingProxyType[Any, Any]) -> tuple[Any, tuple[dict[Any, Any]]]:
    return _proxy, (dict(proxy),)


copyreg.pickle(MappingProxyType, _picklable)  # targets travel to the processes that work for a run


def _frozen(value: Any) -> Any:
    """A parsed TOML value without anything that can be changed: targets are shared."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _line(text: str, key: tuple[str, ...]) -> str:
    """`` in line N``, where a key stands; of a table where it begins; empty for what is not in the file."""
    if not key:
        return ""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            if table == key:
                return f" in line {number}"
        elif match := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            name = tuple(part.strip("\"'") for part in match[1].split("."))
            if (*table, *name) == key:
                return f" in line {number}"
    return ""
