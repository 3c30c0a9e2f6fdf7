"""How often a tensor holds which values, and the range that can be stored.

``low``, ``high`` (the range that the bins divide evenly), ``counts``, and ``thresholds`` (smallest and
largest value that can be stored; either may be None).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from graphopt.record.plots import POINTS, Chart
from graphopt.report.html.charts.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    bar,
    frame,
    number,
    scale,
)
from graphopt.report.html.markup import svg, tag, text


def thin(data: Mapping[str, Any]) -> dict[str, Any]:
    """Join neighbouring bins, so that every sample is still counted."""
    counts = [int(count) for count in data["counts"]]
    width = -(-len(counts) // POINTS) or 1
    joined = [sum(counts[i : i + width]) for i in range(0, len(counts), width)]
    step = (float(data["high"]) - float(data["low"])) / max(len(counts), 1)
    return {
        "low": float(data["low"]),
        "high": float(data["low"]) + step * width * len(joined),  # the last bin may be part empty
        "counts": joined,
        "thresholds": [None if limit is None else float(limit) for limit in data.get("thresholds", ())],
    }


def draw(title: str, data: Mapping[str, Any]) -> Markup:
    """Draw the counts on a logarithmic scale; bins outside the range are faint."""
    counts, low, high = data["counts"], data["low"], data["high"]
    limits = [limit for limit in data.get("thresholds", ()) if limit is not None]
    x = scale([low, high, *limits], LEFT, WIDTH - RIGHT)
    y = scale([1, *counts], HEIGHT - BOTTOM, TOP, log=True)
    step = (high - low) / max(len(counts), 1)
    bars = []
    for i, count in enumerate(counts):
        if not count:
            continue
        start, end = low + i * step, low + (i + 1) * step
        at, top = x(start), min(y(count), HEIGHT - BOTTOM - 1)
        outside = len(limits) == 2 and (end <= limits[0] or start >= limits[1])
        right = max(x(end), at + 0.8)
        bars.append(bar(at, right, top, HEIGHT - BOTTOM, "bar faint" if outside else "bar"))
    marks = [tag("line", x1=x(v), x2=x(v), y1=TOP, y2=HEIGHT - BOTTOM, class_="mark") for v in limits]
    names = [text(x(v), TOP - 5, number(v), "note", "end" if x(v) > WIDTH / 2 else "start") for v in limits]
    return svg(WIDTH, HEIGHT, *frame(x, y, "value", ""), *bars, *marks, *names, label=title, class_="plot")


CHART = Chart("Activations and the range that is stored", thin, draw)
