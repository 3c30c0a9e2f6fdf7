"""Sentences that many parts of the engine say alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The known name that is most like ``name``; None when none is like it."""
    return next(iter(difflib.get_close_matches(str(name), list(names), n=1)), None)


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """``did you mean 'x'?`` for the known name that is most like ``name``, else ``otherwise``."""
    near = nearest_name(name, names)
    return otherwise if near is None else f"did you mean '{near}'?"


def meant_or_known(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or where no known name is like ``name``, all of them."""
    names = sorted(known)
    listed = f"known: {', '.join(names)}" if names else "there are none"
    return f"; {did_you_mean(name, names, listed)}"


def described(value: object) -> str:
    """What kind of thing a value is, short enough for a sentence: ``an int``, ``a torch Tensor``."""
    kind = type(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None:
        return "None"
    if kind.__module__ in ("builtins", "__main__"):
        return f"{'an' if kind.__name__[0] in 'aeiou' else 'a'} {kind.__name__}"
    owner = kind.__module__.partition(".")[0]
    return f"{'an' if owner[0] in 'aeiou' else 'a'} {owner} {kind.__name__}"
