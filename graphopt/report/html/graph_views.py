"""The drawings of a model that a page switches between: original and result, whole, folded, a block open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from graphopt.report.html.charts.blocks import Folding, blocks
from graphopt.report.html.charts.graph import draw_graph

WHOLE_AT_FIRST = 60  # shown: nodes; of more the blocks are shown first, where there are any


@dataclass(frozen=True)
class View:
    """One drawing: ``side`` is ``original`` or ``result``, ``kind`` is ``nodes``, ``blocks`` or ``b3``."""

    side: str
    kind: str
    drawing: Markup
    title: str = ""  # of the block that is open


@dataclass(frozen=True)
class GraphViews:
    """The drawings of a page, the one to show at first in front; ``drawn`` nodes of ``total``."""

    views: tuple[View, ...]
    drawn: int
    total: int

    @property
    def first(self) -> View:
        """The drawing to show at first."""
        return self.views[0]

    @property
    def sides(self) -> list[str]:
        """The models that are drawn."""
        return list(dict.fromkeys(view.side for view in self.views))

    @property
    def has_blocks(self) -> bool:
        """Whether blocks fold."""
        return any(view.kind == "blocks" for view in self.views)


def graph_views(rows: Sequence[Mapping[str, Any]]) -> GraphViews:
    """All drawings of the rows of a page; none where there are too many rows and no blocks.

    A row has what ``draw_graph`` needs, and ``state`` and ``reads_after`` where there is a result.
    """
    original = original_rows(rows)
    views, drawn = _views("original", original)
    if any(row.get("reads_after") is not None for row in rows):
        views += _views("result", result_rows(rows))[0]
    prefers_blocks = len(original) > WHOLE_AT_FIRST
    views.sort(key=lambda view: (view.side, (view.kind == "blocks") != prefers_blocks))
    return GraphViews(tuple(views), drawn, len(original))


def with_blocks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table, those of the original with the ``block`` and ``block_name`` they fold into."""
    original = original_rows(rows)
    of = {
        original[place]["number"]: (number, block.name)
        for number, block in enumerate(blocks(original))
        for place in block.members
    }
    return [
        {**row, "block": f"b{of[row['number']][0]}", "block_name": of[row["number"]][1]}
        if row["number"] in of
        else row
        for row in rows
    ]


def block_choices(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """The blocks that rows can be filtered by: key, name and how many rows there are."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if "block" in row:
            key = (row["block"], row["block_name"] or "other layers")
            counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: int(item[0][0][1:]))
    return [(key, name, count) for (key, name), count in ordered]


def original_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are in the original; ``reads`` are places among them."""
    kept = [i for i, row in enumerate(rows) if row.get("state") != "added"]
    places = {number: place for place, number in enumerate(kept)}
    return [{**rows[i], "reads": [places[j] for j in rows[i]["reads"] if j in places]} for i in kept]


def result_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are in the result, in an order in which each comes after those it reads there."""
    reads = {i: row["reads_after"] for i, row in enumerate(rows) if row.get("reads_after") is not None}
    order: list[int] = []
    done: set[int] = set()
    waiting = sorted(reads, reverse=True)
    open_rows: set[int] = set()
    while waiting:
        number = waiting[-1]
        open_rows.add(number)
        before = [j for j in reads[number] if j in reads and j not in done and j not in open_rows]
        if before and number not in done:
            waiting += sorted(before, reverse=True)
            continue
        waiting.pop()
        if number not in done:
            done.add(number)
            order.append(number)
    places = {number: place for place, number in enumerate(order)}
    return [
        {**rows[number], "reads": sorted({places[j] for j in reads[number] if places.get(j, place) < place})}
        for place, number in enumerate(order)
    ]


def _views(side: str, rows: Sequence[Mapping[str, Any]]) -> tuple[list[View], int]:
    whole, drawn = draw_graph(rows)
    views = [View(side, "nodes", whole)] if whole is not None else []
    made = blocks(rows)
    if not made:
        return views, drawn
    folding = Folding(made, rows)
    drawing, _ = draw_graph(folding.folded)
    if drawing is None:
        return views, drawn
    views.append(View(side, "blocks", drawing))
    for number, block in enumerate(made):
        if len(block.members) > 1:
            drawing, _ = draw_graph(folding.opened(number))
            if drawing is not None:
                views.append(View(side, f"b{number}", drawing, block.name or "other layers"))
    return views, drawn
