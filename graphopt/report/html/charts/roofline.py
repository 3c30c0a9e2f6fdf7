"""The roofline of a machine with the layers of a model under it.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from graphopt.report.html.charts.axes import frame, number, scale
from graphopt.report.html.markup import path, svg, tag, text

if TYPE_CHECKING:
    from graphopt.analysis.layer_costs import Timing

WIDTH, HEIGHT, LEFT = 680.0, 340.0, 56.0
MOST_DOTS = 400
SMALLEST, LARGEST = 3.0, 11.0  # radius of a layer by its share of the time


def roofline(rows: Sequence[Mapping[str, Any]], timing: Timing) -> Markup | None:
    """MACs a second of each layer against its MACs a byte, under the roof; None when no layer has both.

    A row has ``number``, ``name``, ``macs``, ``bytes``, ``latency_ms``, ``time_share`` and ``bound``.
    """
    drawn = [row for row in rows if row["macs"] and row["bytes"] and row["latency_ms"]]
    drawn = sorted(drawn, key=lambda row: -row["latency_ms"])[:MOST_DOTS]
    if not drawn:
        return None
    intensity = [row["macs"] / row["bytes"] for row in drawn]
    rate = [1e3 * row["macs"] / row["latency_ms"] for row in drawn]
    ridge = timing.macs_per_second / timing.bytes_per_second
    x = scale([min(intensity) / 1.5, max(intensity) * 1.5, ridge / 3, ridge * 3], LEFT, WIDTH - 16, log=True)
    y = scale([*rate, timing.macs_per_second * 4], HEIGHT - 44, 28.0, log=True)
    first = max(x.low, y.low / timing.bytes_per_second)  # where the slope enters the drawing
    slope = (x(first), y(first * timing.bytes_per_second))
    roof = [slope, (x(ridge), y(timing.macs_per_second)), (x.end, y(timing.macs_per_second))]
    middle = ((slope[0] + roof[1][0]) / 2, (slope[1] + roof[1][1]) / 2)
    dots = [_dot(row, x(ops), y(speed)) for row, ops, speed in zip(drawn, intensity, rate, strict=True)]
    return svg(
        WIDTH,
        HEIGHT,
        *frame(x, y, "MACs a byte", "MACs a second"),
        path(roof, "line"),
        text(x.end, roof[1][1] - 26, f"{number(timing.macs_per_second)} MACs a second", "note", "end"),
        text(
            middle[0] - 8, middle[1] - 6, f"{number(timing.bytes_per_second)} bytes a second", "note", "end"
        ),
        tag("g", *dots),
        label="layers under the roofline of this machine",
        class_="plot pareto",
    )


def _dot(row: Mapping[str, Any], x: float, y: float) -> Markup:
    title = f"{row['name']}: {number(row['latency_ms'])} ms, bound by {row['bound']}"
    radius = SMALLEST + (LARGEST - SMALLEST) * min((row["time_share"] or 0.0) / 25, 1.0)
    return tag("circle", tag("title", title), cx=x, cy=y, r=radius, class_="run s0", data_go=row["number"])
