"""Sentences that many parts of the engine say alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``; None when none is like it."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean 'x'?`` for the known name that is most like ``name``, else ``otherwise``."""
    near = nearest_name(name, known)
    return otherwise if near is None else f"did you mean '{near}'?"


def meant_or_known(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or where no known name is like ``name``, all of them."""
    names = sorted(known)
    listed = f"known: {', '.join(names)}" if names else "there are none"
    return f"; {did_you_mean(name, names, listed)}"
