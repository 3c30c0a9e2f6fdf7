"""Sizes that models are run at, as they are given: ``NAME=1x3x640x640``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.errors import UsageError

Shapes = Mapping[str, tuple[int, ...]]

LARGEST_SIZE = 2**31 - 1  # fixed: int32, in which runtimes count a dimension
_SHAPE = re.compile(r"(?P<name>.+)=(?P<sizes>\d+(x\d+)*)")


def parse_shapes(texts: Sequence[str] | str | Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1x3x640x640`` texts; a mapping of names to sizes is taken as it is."""
    if isinstance(texts, Mapping):
        return {name: _sizes(sizes, f"{name}={sizes}") for name, sizes in texts.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts if isinstance(texts, (list, tuple)) else [texts]:
        match = _SHAPE.fullmatch(str(text))
        if not match:
            raise UsageError(f"--shape {text} is not of the form NAME=1x3x640x640")
        if match["name"] in shapes:
            raise UsageError(f"--shape gives {match['name']} twice")
        shapes[match["name"]] = _sizes([int(size) for size in match["sizes"].split("x")], str(text))
    return shapes


def _sizes(sizes: Any, written: str) -> tuple[int, ...]:
    """The sizes given for one input, checked."""
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise UsageError(f"--shape {written} is not a list of sizes", hint="write NAME=1x3x640x640")
    for size in sizes:
        if not hasattr(size, "__index__") or isinstance(size, bool):
            raise UsageError(f"--shape {written} holds {size!r}, which is not a size")
        if not 1 <= int(size) <= LARGEST_SIZE:
            raise UsageError(f"--shape {written} has a size of {size}; sizes go from 1 to {LARGEST_SIZE}")
    return tuple(int(size) for size in sizes)
