"""What other packages add to graphopt, found by name and imported when it is used.

A package adds something by an entry point in its ``pyproject.toml``.  It is found when the package is
installed, or when its folder is named in the environment variable ``GRAPHOPT_PLUGINS`` (several with the
path separator of the system between them), which ``graphopt --plugin FOLDER`` sets.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import UsageError
from graphopt.util.text import meant_or_known

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PLUGINS = "GRAPHOPT_PLUGINS"


@dataclass(frozen=True)
class Broken:
    """A registered name that cannot be imported, kept so that a list of names can still be shown."""

    name: str
    reason: str
    hint: str

    def error(self) -> UsageError:
        """The error for whoever asks for it."""
        return UsageError(f"{self.name} cannot be loaded: {self.reason}", hint=self.hint)


class Registry:
    """Names of one kind: those that graphopt has itself, and those that entry points add.

    ``built_in`` holds our own by name.  ``of`` is the class that whatever an entry point names has to be an
    instance of.  An entry point is imported once, when it is first used.
    """

    def __init__(
        self,
        points: Iterable[EntryPoint],
        *,
        kind: str = "pass",
        built_in: Mapping[str, Any] | None = None,
        of: type | tuple[type, ...] = object,
    ) -> None:
        self._kind = kind
        self._of = of
        self._built_in = built_in if built_in is not None else {}
        self._loaded: dict[str, Any] = {}
        self._points: dict[str, EntryPoint] = {}
        for point in points:
            if point.name in self._built_in:
                raise UsageError(
                    f"{_origin(point)} registers a {kind} named {point.name!r}, which graphopt has already",
                    hint=f"uninstall {_origin(point)}, or give it another name there",
                )
            other = self._points.setdefault(point.name, point)
            if other.value != point.value:
                raise UsageError(
                    f"{_origin(other)} and {_origin(point)} both register a {kind} named {point.name!r}",
                    hint="uninstall one of them",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names, sorted."""
        return tuple(sorted({*self._built_in, *self._points}))

    def __contains__(self, name: str) -> bool:
        return name in self._built_in or name in self._points

    def find(self, name: str) -> Any:
        """What is registered as ``name``, or the ``Broken`` that says why it cannot be imported.

        Raises:
            UsageError: nothing of that name is registered; the nearest name is given.
        """
        if name not in self:
            raise UsageError(
                f"there is no {self._kind} {name!r}{meant_or_known(name, self.names)}",
                hint="graphopt passes lists them all"
                if self._kind == "pass"
                else f"known: {', '.join(self.names)}",
            )
        if name in self._built_in:
            return self._built_in[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._points[name])
        return self._loaded[name]

    def load(self, name: str) -> Any:
        """What is registered as ``name``; UsageError when it cannot be imported."""
        entry = self.find(name)
        if isinstance(entry, Broken):
            raise entry.error()
        return entry

    def summary(self, name: str) -> str:
        """The first sentence of the docstring of the module that registers ``name``, without running it.

        Empty where there is none, or where the source does not lie beside its package.
        """
        return _summary(self._points[name])

    def _load(self, point: EntryPoint) -> Any:
        try:
            entry = point.load()
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            package = missing if missing and missing != "graphopt" else _origin(point)
            return Broken(point.name, str(error), f"pip install {package}")
        except Exception as error:  # a plugin may fail in any way; the reason is shown to who asks for it
            reason = f"{type(error).__name__}: {error}"
            return Broken(point.name, reason, f"fix or reinstall {_origin(point)}")
        if not isinstance(entry, self._of):
            reason = f"{point.value} is a {type(entry).__name__}, which is no {self._kind}"
            return Broken(point.name, reason, f"fix or reinstall {_origin(point)}")
        return entry


def named(group: str, places: Mapping[str, str]) -> list[EntryPoint]:
    """Entry points of our own, ``name: "module:object"``, which are imported when they are used."""
    from importlib.metadata import EntryPoint

    return [EntryPoint(name, value, group) for name, value in places.items()]


def added(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group: of installed packages, then of the folders in ``GRAPHOPT_PLUGINS``.

    Raises:
        UsageError: a folder holds no ``pyproject.toml`` that can be read.
    """
    from importlib.metadata import entry_points

    folders = [Path(text) for text in os.environ.get(PLUGINS, "").split(os.pathsep) if text]
    return (*entry_points(group=group), *(point for folder in folders for point in _declared(folder, group)))


def _declared(folder: Path, group: str) -> Iterable[EntryPoint]:
    """The entry points that the ``pyproject.toml`` of a folder declares; its packages become importable."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the plugin {folder} has no pyproject.toml that can be read: {error}",
            hint="name the folder of a package with its pyproject.toml",
        ) from error
    for place in (folder / "src", folder):
        if place.is_dir() and str(place.resolve()) not in sys.path:
            sys.path.append(str(place.resolve()))
    yield from named(group, project.get("entry-points", {}).get(group, {}))


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
