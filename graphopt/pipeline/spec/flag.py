"""One flag of a run: a field of a dataclass that knows its default, what it takes, and its explanation."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from graphopt.errors import UsageError
from graphopt.util.text import did_you_mean

Given = TypeVar("Given")
Held = TypeVar("Held")


@dataclass(frozen=True)
class Kind(Generic[Given, Held]):
    """What a flag takes: how it is read on the command line, and the value that it becomes.

    ``convert`` gets the flag as it is spelled and the value given, None included, and raises UsageError.
    """

    convert: Callable[[str, Any], Any]
    scalar: type = str
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    repeated: bool = False


class Flag(Generic[Given, Held]):
    """A field that is at once a flag of the command line, a recipe key and an argument in Python.

    A field is ``name: Flag[what may be given, what it becomes] = Flag(default, kind, help)``; being a
    descriptor, it converts and checks the value that the dataclass is made with, and takes no second one (so
    the dataclass is not frozen, which would hide from mypy what the value becomes). ``shown`` is the default
    in words, where the value itself does not say it; ``negative`` adds ``--no-NAME``.
    """

    def __init__(
        self,
        default: Given,
        kind: Kind[Given, Held],
        help: str,
        *,
        metavar: str = "",
        short: str = "",
        shown: str = "",
        negative: bool = False,
    ) -> None:
        self.default, self.kind, self.help = default, kind, help
        self.metavar, self.short, self.shown, self.negative = metavar, short, shown, negative

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Given: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Held: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        """The value in an instance; of the class the default, where ``dataclass`` looks for it."""
        return self.default if instance is None else vars(instance)[self.name]

    def __set__(self, instance: Any, value: Given) -> None:
        if self.name in vars(instance):
            raise FrozenInstanceError(f"{self.spelled} was set when the run was asked for")
        vars(instance)[self.name] = self.kind.convert(self.spelled, value)

    @property
    def key(self) -> str:
        """The name as recipes write it."""
        return self.name.replace("_", "-")

    @property
    def spelled(self) -> str:
        """The name as the command line writes it."""
        return f"--{self.key}"

    @property
    def explained(self) -> str:
        """The help with the default in words."""
        says_nothing = self.default is None or self.default is False or self.default == ()
        shown = self.shown or ("" if says_nothing else str(self.default))
        return f"{self.help} [default: {shown}]" if shown else self.help


def flags_of(owner: type) -> dict[str, Flag[Any, Any]]:
    """The flags among the fields of a dataclass, in the order in which they are declared."""
    classes = reversed(owner.__mro__)
    return {name: value for c in classes for name, value in vars(c).items() if isinstance(value, Flag)}


def signature_of(owner: type, first: Sequence[inspect.Parameter], result: str) -> inspect.Signature:
    """The signature of a function with the parameters ``first`` and the fields of ``owner`` as arguments."""
    fields = inspect.signature(owner).parameters.values()
    taken = [field.replace(annotation=_given(str(field.annotation))) for field in fields]
    return inspect.Signature([*first, *taken], return_annotation=result)


def _given(annotation: str) -> str:
    """Of ``Flag[what may be given, what it becomes]`` the first."""
    if not annotation.startswith("Flag["):
        return annotation
    inside, depth = annotation[len("Flag[") : -1], 0
    for position, letter in enumerate(inside):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            return inside[:position]
    return inside


def anything() -> Kind[Any, Any]:
    """What is checked where it is used."""
    return Kind(lambda spelled, value: value)


def switch() -> Kind[Any, Any]:
    """True or false."""
    return Kind(_checked((bool,), "true or false"), bool)


def text() -> Kind[Any, Any]:
    """Text."""
    return Kind(_checked((str,), "text"))


def one_of(*choices: str) -> Kind[Any, Any]:
    """One of a few words."""

    def convert(spelled: str, value: Any) -> Any:
        if value not in choices:
            hint = did_you_mean(str(value), choices)
            raise UsageError(f"{spelled} is one of {', '.join(choices)}, not {value!r}", hint=hint)
        return value

    return Kind(convert, choices=choices)


def whole(least: int, most: int | None = None) -> Kind[int, int]:
    """A whole number within bounds."""
    what = f"a whole number from {least}" if most is None else f"{least} to {most}"
    upper = math.inf if most is None else most
    return Kind(_checked((int,), what, lambda value: least <= value <= upper), int, least=least, most=most)


def number(
    what: str = "a number", holds: Callable[[float], bool] = math.isfinite
) -> Kind[float | None, float | None]:
    """A number; ``what`` says which numbers ``holds`` takes."""
    return Kind(_checked((int, float), what, holds), float)


def path() -> Kind[str | Path | None, Path | None]:
    """A path, as a Path."""
    return Kind(lambda spelled, value: None if value is None else to_path(value))


def path_text() -> Kind[str | Path | None, str | None]:
    """What a path or another text names, as text."""
    check = _checked((str,), "text")
    return Kind(lambda spelled, value: check(spelled, str(value) if isinstance(value, Path) else value))


def paths() -> Kind[str | Path | Sequence[str | Path], tuple[Path, ...]]:
    """Any number of paths."""
    return Kind(lambda spelled, value: tuple(map(to_path, _listed(value))), repeated=True)


def texts() -> Kind[str | Path | Sequence[str | Path], tuple[str, ...]]:
    """Any number of texts."""

    def convert(spelled: str, value: Any) -> tuple[str, ...]:
        items = _listed(value)
        if not isinstance(items, Sequence) or not all(isinstance(item, (str, Path)) for item in items):
            raise UsageError(f"{value!r} is neither a text nor a list of texts")
        return tuple(map(str, items))

    return Kind(convert, repeated=True)


def to_path(value: Any) -> Path:
    """A path that was given as text or as a Path."""
    if not isinstance(value, (str, Path)):
        raise UsageError(f"{value!r} is not a path")
    if not str(value):
        raise UsageError("an empty text is not a path", hint="leave the flag out, or name a file")
    return Path(value)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, Path)) else value


def _checked(
    kinds: tuple[type, ...], what: str, holds: Callable[[Any], bool] = lambda value: True
) -> Callable[[str, Any], Any]:
    """A conversion that changes nothing and refuses what is not one of ``kinds`` or does not hold."""

    def convert(spelled: str, value: Any) -> Any:
        is_wrong_bool = isinstance(value, bool) and bool not in kinds
        if value is not None and (not isinstance(value, kinds) or is_wrong_bool or not holds(value)):
            raise UsageError(f"{spelled} takes {what}, not {value!r}")
        return value

    return convert
