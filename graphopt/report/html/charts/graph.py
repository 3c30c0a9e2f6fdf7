"""The graph of a model as a drawing, coloured by what was decided and by how far each layer moved."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.report.html.charts.graph_layout import Layout, condense, lay_out
from graphopt.report.html.markup import svg, tag, text

MOST_DRAWN = 1200  # nodes; of larger models those are drawn that hold weights or were decided about
NODE, TALL, PITCH, STEP = 142.0, 36.0, 158.0, 54.0
LONGEST_NAME = 19  # letters of an operator that fit
MARGIN = 26.0
LANES, LANE = 7, 6.0  # beside each other in the gap between two columns
GUTTER = 76.0  # between the columns of a tall graph
SHAPE = 1.5  # width over height that columns aim at


def draw_graph(rows: Sequence[Mapping[str, Any]]) -> tuple[Markup | None, int]:
    """Draw the nodes of the rows; returns how many were drawn too, nothing where they are too many.

    A row has ``number``, ``reads`` (indices of rows before it), ``op``, ``name``, ``sub`` (a few words),
    ``style`` (class of its decision), ``error`` (class of its noise) and ``matters``.
    """
    reads: Sequence[Sequence[int]] = [row["reads"] for row in rows]
    shown = list(rows)
    if len(shown) > MOST_DRAWN:
        kept = [bool(row["matters"]) for row in rows]
        shown = [row for row, keep in zip(rows, kept, strict=True) if keep]
        reads = condense(reads, kept)
    if not 1 < len(shown) <= MOST_DRAWN:
        return None, len(shown)
    return _draw(shown, reads, _Columns(lay_out(reads))), len(shown)


class _Columns:
    """A layout cut into columns side by side, so that a net of a thousand layers fits a screen."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._lanes: dict[int, int] = {}
        ranks = max(layout.rank) + 1
        spans = _spans(layout, ranks)
        width = sum(right - left for left, right in spans) / ranks * PITCH + NODE + GUTTER  # of a usual rank
        cuts = _cuts(layout, ranks, max(1, round(math.sqrt(SHAPE * ranks * STEP / width))))
        self._starts = [0, *cuts]
        ends = [*cuts, ranks]
        self._height = max(end - start for start, end in zip(self._starts, ends, strict=True)) * STEP
        self._lefts: list[float] = []  # of the places in each column
        self._edges = [0.0]  # of each column in the drawing
        for start, end in zip(self._starts, ends, strict=True):
            left, right = min(s[0] for s in spans[start:end]), max(s[1] for s in spans[start:end])
            self._lefts.append(left * PITCH)
            self._edges.append(self._edges[-1] + (right - left) * PITCH + NODE + GUTTER)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole drawing."""
        return self._edges[-1], self._height + 2 * MARGIN

    def gap(self, column: int) -> float:
        """A free lane in the gap before a column."""
        lane = self._lanes[column] = self._lanes.get(column, -1) + 1
        return self._edges[column] + LANE * (lane % LANES - LANES // 2)

    def column(self, rank: int) -> int:
        """The column a rank stands in."""
        return bisect_right(self._starts, rank) - 1

    def at(self, x: float, rank: int) -> tuple[float, float]:
        """The middle of a place."""
        column = self.column(rank)
        inside = x * PITCH - self._lefts[column] + (NODE + GUTTER) / 2
        return self._edges[column] + inside, (rank - self._starts[column]) * STEP + TALL / 2 + MARGIN


def _spans(layout: Layout, ranks: int) -> list[tuple[float, float]]:
    """The leftmost and the rightmost place of each rank."""
    spans = [(math.inf, -math.inf)] * ranks
    places = [place for route in layout.routes.values() for place in route]
    for x, rank in [*places, *zip(layout.x, layout.rank, strict=True)]:
        spans[rank] = (min(spans[rank][0], x), max(spans[rank][1], x))
    return spans


def _cuts(layout: Layout, ranks: int, count: int) -> list[int]:
    """Ranks at which a new column starts: near even parts, where the fewest edges cross."""
    crossing = [0] * (ranks + 1)
    for route in layout.routes.values():
        crossing[route[0][1] + 1] += 1
        crossing[route[-1][1] + 1 if route[-1][1] + 1 <= ranks else ranks] -= 1
    for rank in range(ranks):
        crossing[rank + 1] += crossing[rank]
    cuts: list[int] = []
    for number in range(1, count):
        middle, reach = ranks * number // count, max(ranks // (6 * count), 1)
        near = range(max(middle - reach, (cuts[-1] if cuts else 0) + 1), min(middle + reach, ranks - 1) + 1)
        if near:
            cuts.append(min(near, key=lambda rank: (crossing[rank], abs(rank - middle))))
    return cuts


def _draw(rows: Sequence[Mapping[str, Any]], reads: Sequence[Sequence[int]], columns: _Columns) -> Markup:
    edges = tag("g", *(_edge(route, columns) for route in columns.layout.routes.values()), class_="edges")
    places = zip(columns.layout.x, columns.layout.rank, strict=True)
    nodes = (
        _node(row, [rows[i]["number"] for i in sees], *columns.at(x, rank))
        for row, sees, (x, rank) in zip(rows, reads, places, strict=True)
    )
    width, height = columns.size
    return svg(
        width,
        height,
        edges,
        tag("g", *nodes),
        label="the graph of the model",
        role="group",
        id="net",
        class_="net",
    )


def _node(row: Mapping[str, Any], sources: Sequence[Any], x: float, y: float) -> Markup:
    op = row["op"] if len(row["op"]) <= LONGEST_NAME else row["op"][: LONGEST_NAME - 1] + "…"
    lines = [text(0, -2 if row["sub"] else 4, op, "op", "middle")]
    if row["sub"]:
        lines.append(text(0, 12, row["sub"], "sub", "middle"))
    return tag(
        "g",
        tag("title", row["name"]),
        tag("rect", x=-NODE / 2, y=-TALL / 2, width=NODE, height=TALL, rx=8),
        *lines,
        class_=f"n {row['style']} {row['error']}".rstrip(),
        transform=f"translate({x:.1f} {y:.1f})",
        data_row=row["number"],
        data_reads=" ".join(map(str, sources)) or None,
    )


def _edge(route: Sequence[tuple[float, int]], columns: _Columns) -> Markup:
    points = [columns.at(x, rank) for x, rank in route]
    own = [columns.column(rank) for _, rank in route]
    first = points[0]
    steps = [f"M{first[0]:.1f} {first[1] + TALL / 2:.1f}"]
    for i in range(1, len(points)):
        top = points[i - 1][1] + (TALL / 2 if i == 1 else 0)
        foot = points[i][1] - (TALL / 2 if i == len(points) - 1 else 0)
        if own[i] != own[i - 1]:
            steps.append(_over(points[i - 1][0], top, points[i][0], foot, columns, own[i]))
        elif abs(points[i][0] - points[i - 1][0]) < 0.5:
            steps.append(f"V{foot:.1f}")
        else:
            middle = (top + foot) / 2
            x, to_x = points[i - 1][0], points[i][0]
            steps.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {foot:.1f}")
    return tag("path", d="".join(steps))


def _over(x: float, y: float, to_x: float, to_y: float, columns: _Columns, column: int) -> str:
    """From the foot of one column through the gap to the head of the next."""
    gap = columns.gap(column)
    foot, head = y + 10, to_y - 8
    return (
        f"C{x:.1f} {foot + 8:.1f} {gap:.1f} {foot + 8:.1f} {gap:.1f} {foot - 14:.1f}"
        f"V{head + 14:.1f}C{gap:.1f} {head - 8:.1f} {to_x:.1f} {head - 8:.1f} {to_x:.1f} {to_y:.1f}"
    )
