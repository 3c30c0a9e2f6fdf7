"""Rows of options in which every pair of values occurs that may go together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Value = tuple[str, Any]
Pair = tuple[Value, Value]


def pairs(options: Mapping[str, Sequence[Any]]) -> list[Pair]:
    """All pairs of values of two different options."""
    flat = [(name, value) for name, values in options.items() for value in values]
    return [(a, b) for a, b in itertools.combinations(flat, 2) if a[0] != b[0]]


def rows(
    options: Mapping[str, Sequence[Any]], goes: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Rows that cover all pairs that may go together; ``goes`` says whether values may stand in one row.

    Greedy: a row begins with a pair that is not covered yet and takes up every further pair that still goes.
    A pair that goes only in company of a third value (as the bits of a mode) begins a row with that value;
    one that goes in no company is left out.
    """
    wanted = pairs(options)
    singles = [{name: value} for name, values in options.items() for value in values]
    starts = {index: start for index, pair in enumerate(wanted) if (start := _start(pair, singles, goes))}
    made = []
    while starts:
        row = next(iter(starts.values()))
        for start in starts.values():
            if all(row.get(name, value) == value for name, value in start.items()):
                longer = {**row, **start}
                row = longer if len(longer) == len(row) or goes(longer) else row
        starts = {index: start for index, start in starts.items() if not _holds(row, wanted[index])}
        made.append(row)
    return made


def _start(
    pair: Pair, singles: Sequence[Mapping[str, Any]], goes: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """The pair alone or with the first third value that makes it go; nothing when none does."""
    alone = dict(pair)
    company = (alone, *({**single, **alone} for single in singles))
    return next((values for values in company if goes(values)), {})


def _holds(row: Mapping[str, Any], pair: Pair) -> bool:
    return all(name in row and row[name] == value for name, value in pair)
