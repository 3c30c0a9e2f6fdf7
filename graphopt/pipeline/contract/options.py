"""A pass's options: typed dataclass fields that are at once CLI options, recipe keys and documentation."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.errors import UsageError
from graphopt.util.text import meant_or_known

_SCALARS: dict[type, str] = {bool: "true|false", int: "a whole number", float: "a number", str: "text"}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    aliases: Sequence[str] = (),
) -> Any:
    """Declare one option of a pass: its default, a help sentence, and what values it allows.

    ``aliases`` are names that it had before; they still work, and a warning names the new one.
    """
    metadata = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    metadata["aliases"] = tuple(aliases)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One option as the help text, the spec parser and the recipe see it."""

    name: str
    type: type
    is_list: bool
    optional: bool
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may be written for it, in words: ``a number from 0 to 1``."""
        text = "|".join(map(str, self.choices)) or _SCALARS[self.type]
        if self.minimum is not None and self.maximum is not None:
            text += f" from {self.minimum:g} to {self.maximum:g}"
        elif self.minimum is not None:
            text += f", at least {self.minimum:g}"
        elif self.maximum is not None:
            text += f", at most {self.maximum:g}"
        if self.is_list:
            text = f"a list a|b of {text}" if self.choices else "a list a|b"
        return f"{text}, or none" if self.optional else text

    def convert(self, value: object) -> Any:
        """Turn text (from a spec) or a value (from a recipe or Python) into this option's type.

        Raises:
            ValueError: the value is not one of ``allowed``.
        """
        if value is None or (self.optional and value == "none"):
            if not self.optional:
                raise ValueError("none")
            return None
        if self.is_list:
            items = value if isinstance(value, (list, tuple)) else (value,)
            return tuple(self._scalar(item) for item in items)
        if isinstance(value, (list, tuple)):
            raise ValueError("a list")
        return self._scalar(value)

    def _scalar(self, value: object) -> Any:
        converted = _to_scalar(value, self.type)
        if self.choices and converted not in self.choices:
            raise ValueError("not a choice")
        if isinstance(converted, (int, float)) and not isinstance(converted, bool):
            too_small = self.minimum is not None and converted < self.minimum
            if too_small or (self.maximum is not None and converted > self.maximum):
                raise ValueError("out of bounds")
        return converted


def describe(owner: type) -> tuple[Option, ...]:
    """List the options of a pass class, in the order of its fields."""
    hints = typing.get_type_hints(owner)
    return tuple(_option(owner, field, hints[field.name]) for field in dataclasses.fields(owner))


def convert(pass_name: str, known: Iterable[Option], name: str, value: object) -> Any:
    """Convert the value given for option ``name`` of a pass; UsageError names what is allowed."""
    options = {n: o for o in known for n in (*o.aliases, o.name)}
    if name not in options:
        raise UsageError(
            f"{pass_name} has no option {name!r}{meant_or_known(name, {o.name for o in options.values()})}",
            hint=f"graphopt passes {pass_name} lists its options",
        )
    try:
        return options[name].convert(value)
    except ValueError:
        shown = "|".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        message = f"{pass_name}: {name}={shown} is not allowed; {name} takes {options[name].allowed}"
        hint = f'a value that holds | as text goes in double quotes: {name}="{shown}"'
        is_list = isinstance(value, (list, tuple)) and not options[name].is_list
        raise UsageError(message, hint=hint if is_list else "") from None


def present_name(options: Iterable[Option], name: str) -> str:
    """The name that an option has now, given that or one that it had before."""
    return next((option.name for option in options if name in option.aliases), name)


def with_present_names(
    pass_name: str, options: Sequence[Option], values: Iterable[tuple[str, Any]]
) -> dict[str, Any]:
    """Values by the present names of their options; UsageError when one is given by both of its names."""
    named: dict[str, Any] = {}
    for name, value in values:
        new = present_name(options, name)
        if new in named:
            raise UsageError(f"{pass_name}: {new} is given twice", hint="once by a name that it had before")
        named[new] = value
    return named


def deprecation(pass_name: str, old: str, new: str) -> str:
    """The line that tells a user of an old name to write the new one."""
    return f"{pass_name}: the option {old} is now called {new}; {old} still works, but will go"


def to_text(value: Any) -> str | tuple[str, ...]:
    """Write an option's value as a spec does: the inverse of ``Option.convert`` on text."""
    if isinstance(value, tuple):
        return tuple(str(to_text(item)) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return "none" if value is None else str(value)


def _option(owner: type, field: dataclasses.Field[Any], hint: Any) -> Option:
    base, optional = _without_none(hint)
    is_list = typing.get_origin(base) is tuple
    if is_list:
        base = typing.get_args(base)[0]
    if base not in _SCALARS:
        raise TypeError(f"{owner.__name__}.{field.name}: an option cannot be of type {hint}")
    if field.default is dataclasses.MISSING:
        raise TypeError(f"{owner.__name__}.{field.name}: an option needs a default; use option()")
    return Option(field.name, base, is_list, optional, field.default, **(field.metadata or {"help": ""}))


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(others) == 1:
            return others[0], True
    return hint, False


def _to_scalar(value: object, kind: type) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise ValueError("not text")
        return value
    if kind is bool:
        boolean = _BOOLS.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(boolean, bool):
            raise ValueError("not a boolean")
        return boolean
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("not a number")
    if kind is int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError("not a whole number")
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
