"""Which passes and commands exist: entry points, read by name and imported only when used.

Our own passes register through the same groups as anyone's plugin.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Pass
from graphopt.pipeline.contract.options import convert
from graphopt.pipeline.spec.spec import PassSpec
from graphopt.util.text import meant_or_known

PASSES = "graphopt.passes"
COMMANDS = "graphopt.commands"


@dataclass(frozen=True)
class Broken:
    """A registered name that cannot be imported, kept so that the list of passes never dies."""

    name: str
    reason: str
    hint: str

    def error(self) -> UsageError:
        """The error for whoever asks for it."""
        return UsageError(f"{self.name} cannot be loaded: {self.reason}", hint=self.hint)


class Registry:
    """Registered names of one group, each imported at most once."""

    def __init__(self, points: Iterable[EntryPoint], *, kind: str = "pass") -> None:
        self._kind = kind
        self._loaded: dict[str, Any] = {}
        self._points: dict[str, EntryPoint] = {}
        for point in points:
            other = self._points.setdefault(point.name, point)
            if other.value != point.value:
                raise UsageError(
                    f"{_origin(other)} and {_origin(point)} both register a {kind} named {point.name!r}",
                    hint="uninstall one of them",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names, sorted."""
        return tuple(sorted(self._points))

    def find(self, name: str) -> Any:
        """What is registered as ``name``, or the ``Broken`` that says why it cannot be imported.

        Raises:
            UsageError: nothing of that name is registered; the nearest name is given.
        """
        if name not in self._points:
            raise UsageError(
                f"there is no {self._kind} {name!r}{meant_or_known(name, self._points)}",
                hint="graphopt passes lists them all",
            )
        if name not in self._loaded:
            self._loaded[name] = _load(self._points[name])
        return self._loaded[name]

    def load(self, name: str) -> Any:
        """What is registered as ``name``; UsageError when it cannot be imported."""
        found = self.find(name)
        if isinstance(found, Broken):
            raise found.error()
        return found

    def summary(self, name: str) -> str:
        """The first sentence of the docstring of the module that registers ``name``, without running it.

        Empty where there is none, or where the source does not lie beside its package.
        """
        return _summary(self._points[name])

    def make(self, step: PassSpec) -> Pass:
        """The frozen pass that a step of a spec asks for, its options converted and checked."""
        owner: type[Pass] = self.load(step.name)
        known = owner.describe()
        values = {key: convert(step.name, known, key, value) for key, value in step.options}
        return owner(**values)


@functools.cache
def passes() -> Registry:
    """The registry of all installed passes."""
    return Registry(entry_points(group=PASSES))


@functools.cache
def commands() -> Registry:
    """The registry of commands that belong to a room."""
    return Registry(entry_points(group=COMMANDS), kind="command")


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        package = missing if missing and missing != "graphopt" else _origin(point)
        return Broken(point.name, str(error), f"pip install {package}")
    except (
        Exception
    ) as error:  # a plugin may fail in any way; the reason is kept and shown to who asks for it
        return Broken(point.name, f"{type(error).__name__}: {error}", f"mend or reinstall {_origin(point)}")


def _summary(point: EntryPoint) -> str:
    package, *rest = point.module.rsplit(".", 2) if point.module.count(".") > 1 else [point.module]
    try:
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations if spec is not None else None
        source = Path(folders[0], *rest).with_suffix(".py").read_text("utf-8") if folders else ""
        text = ast.get_docstring(ast.parse(source)) or ""
    except (ImportError, OSError, SyntaxError, ValueError):  # whoever calls the command learns why
        return ""
    return " ".join(text.partition("\n\n")[0].split())


def _origin(point: EntryPoint) -> str:
    dist = getattr(point, "dist", None)
    return dist.name if dist is not None else point.value
