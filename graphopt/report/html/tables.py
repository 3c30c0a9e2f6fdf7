"""What tables of layers share: which rows are shown of too many, and what rows can be filtered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 4000  # of the table of layers; a page must stay below 5 MB


def shortened(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The rows that fit a page, in order: those that matter before the others."""
    if len(rows) <= MOST_ROWS:
        return rows
    shown = sorted(rows, key=lambda row: not row["matters"])[:MOST_ROWS]
    return sorted(shown, key=lambda row: row["number"])


def mark_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows carry each of the words in ``marks``."""
    counts: dict[str, int] = {}
    for row in rows:
        for mark in row["marks"].split(" "):
            counts[mark] = counts.get(mark, 0) + 1
    return counts


def shape_text(shape: Sequence[int] | None) -> str:
    """The shape of a tensor as people read it."""
    return "?" if shape is None else "×".join(map(str, shape)) or "scalar"
