"""Recipes: a run written down in TOML, with every flag as a key and the passes as tables.

::

    target = "ort-cpu"
    calibration = "images/"
    [[pass]]
    name = "prune"
    macs = 0.7
    [[loop]]
    steps = 4
    passes = ["prune:macs=0.5", "distill:epochs=1"]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Pass
from graphopt.pipeline.contract.options import to_text
from graphopt.pipeline.spec.spec import PassSpec, Spec, parse
from graphopt.util.text import meant_or_known

_TABLE = re.compile(r"^\s*\[\[\s*(pass|loop)\s*\]\]", re.MULTILINE)


@dataclass(frozen=True)
class ScheduledPass:
    """One pass of a run as written, and which step of a loop it is; ``made`` is a pass given as such."""

    step: PassSpec
    index: int = 0
    count: int = 1
    made: Pass | None = None


@dataclass(frozen=True)
class Recipe:
    """A recipe file: the sequence of passes and the flags it sets (names as on the command line)."""

    turns: tuple[ScheduledPass, ...] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)


def turns(spec: Spec) -> tuple[ScheduledPass, ...]:
    """The turns of a plain spec: each pass once."""
    return tuple(ScheduledPass(step) for step in spec.steps)


def read(path: Path, flags: Sequence[str]) -> Recipe:
    """Read a recipe file; ``flags`` are the keys it may set besides the passes.

    Raises:
        UsageError: the file is missing, is not TOML, or holds an unknown key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the recipe {path} cannot be read: it is not UTF-8 text") from error
    try:
        return parse_recipe(text, flags)
    except UsageError as error:
        raise UsageError(f"in the recipe {path}: {error}", hint=error.hint) from error


def parse_recipe(text: str, flags: Sequence[str]) -> Recipe:
    """Parse the text of a recipe."""
    table = _toml(text)
    order = _order(text, table)
    values = {key.replace("_", "-"): value for key, value in table.items() if key not in ("pass", "loop")}
    for key in values:
        if key not in flags:
            raise UsageError(f"there is no flag {key!r}{meant_or_known(key, flags)}")
    steps = {"pass": iter(table.get("pass", ())), "loop": iter(table.get("loop", ()))}
    parsed = [turn for kind in order for turn in _READERS[kind](next(steps[kind]))]
    if parsed and "passes" in values:
        raise UsageError("the passes are given twice, as `passes` and as tables", hint="keep one of them")
    return Recipe(tuple(parsed) or turns_of(values.pop("passes", None)), values)


def turns_of(text: str | None) -> tuple[ScheduledPass, ...]:
    """The turns of SPEC text; none when there is no text."""
    if text is None:
        return ()
    if not isinstance(text, str):
        raise UsageError(f"passes are a text such as 'prune:macs=0.7,quant', not {text!r}")
    return turns(parse(text))


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"it is not TOML: {error}") from error


def _order(text: str, table: Mapping[str, Any]) -> list[str]:
    """The order of [[pass]] and [[loop]] tables, which TOML readers keep only within one kind."""
    counts = {}
    for kind in ("pass", "loop"):
        entries = table.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UsageError(f"{kind} is not a list of tables", hint=f"write [[{kind}]]")
        counts[kind] = len(entries)
    order = [match[1] for match in _TABLE.finditer(text)]
    if {kind: order.count(kind) for kind in counts} == counts:
        return order
    if counts["pass"] and counts["loop"]:
        raise UsageError(
            "the order of passes and loops is not clear", hint="write [[pass]] and [[loop]] headers"
        )
    return ["pass"] * counts["pass"] + ["loop"] * counts["loop"]


def _pass_turns(entry: Mapping[str, Any]) -> Iterator[ScheduledPass]:
    name = entry.get("name")
    if not isinstance(name, str):
        raise UsageError("a [[pass]] has no name", hint='add name = "..."')
    options = ((key, _value(name, key, value)) for key, value in entry.items() if key != "name")
    yield ScheduledPass(PassSpec(name, tuple(options)))


def _loop_turns(entry: Mapping[str, Any]) -> Iterator[ScheduledPass]:
    unknown = sorted(set(entry) - {"steps", "passes"})
    if unknown:
        raise UsageError(f"a [[loop]] has no key {unknown[0]!r}; known: passes, steps")
    steps, specs = entry.get("steps"), entry.get("passes")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"a [[loop]] needs steps, a whole number from 1; it has {steps!r}")
    specs = [specs] if isinstance(specs, str) else specs
    if not isinstance(specs, list) or not specs or not all(isinstance(s, str) for s in specs):
        raise UsageError("a [[loop]] needs passes, a list of specs", hint='passes = ["prune:macs=0.5"]')
    body = [step for text in specs for step in parse(text).steps]
    for index in range(steps):
        yield from (ScheduledPass(step, index, steps) for step in body)


def _value(name: str, key: str, value: Any) -> str | tuple[str, ...]:
    plain = (bool, int, float, str)
    if isinstance(value, list) and all(isinstance(item, plain) for item in value):
        return to_text(tuple(value))
    if not isinstance(value, plain):
        raise UsageError(f"{name}: {key} is neither a value nor a list of values")
    return to_text(value)


_READERS = {"pass": _pass_turns, "loop": _loop_turns}
