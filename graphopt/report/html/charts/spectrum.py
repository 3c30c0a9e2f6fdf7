"""Singular values of a layer, and how many of them are kept.

``values`` (singular values, descending) and ``rank`` (how many are kept).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from graphopt.record.plots import Chart, numbers, picked
from graphopt.report.html.charts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, frame, scale
from graphopt.report.html.markup import path, svg, tag, text


def thin(data: Mapping[str, Any]) -> dict[str, Any]:
    """Keep at most POINTS singular values, both ends among them."""
    values = numbers(data["values"])
    return {
        "values": [values[i] for i in picked(len(values))],
        "of": len(values),
        "rank": int(data["rank"]),
    }


def draw(title: str, data: Mapping[str, Any]) -> Markup:
    """Draw the singular values on a logarithmic scale, those that are kept in front."""
    values, rank, of = data["values"], data["rank"], data.get("of", len(data["values"]))
    x = Scale(0, max(of, 1), LEFT, WIDTH - RIGHT)
    y = scale(values, HEIGHT - BOTTOM, TOP, log=True)
    places = [1 + i * (of - 1) / max(len(values) - 1, 1) for i in range(len(values))]
    kept = [(x(p), y(v or 0)) for p, v in zip(places, values, strict=True) if p <= rank]
    lost = [(x(p), y(v or 0)) for p, v in zip(places, values, strict=True) if p >= rank]
    return svg(
        WIDTH,
        HEIGHT,
        *frame(x, y, "rank", "singular value"),
        path(lost, "line faint"),
        path(kept, "line s0"),
        tag("line", x1=x(rank), x2=x(rank), y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"),
        text(x(rank) + 4, TOP + 9, f"{rank} of {of} kept", "note", "start")
        if rank < 0.6 * of
        else text(x(rank) - 4, TOP + 9, f"{rank} of {of} kept", "note", "end"),
        label=title,
        class_="plot",
    )


CHART = Chart("Singular values and the rank that is kept", thin, draw)
