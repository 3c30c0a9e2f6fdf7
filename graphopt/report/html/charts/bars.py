"""A bar for each of several names.

``names``, ``values``, ``y_label``, and ``limit``, the most that is allowed, or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.record.plots import Chart, limit_of, numbers
from graphopt.report.html.charts.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    bar,
    frame,
    number,
    scale,
)
from graphopt.report.html.markup import svg, tag, text

ROWS, ROW, SIDE = 24, 24.0, 6.0  # bars at most that lie on their side, the height of one, and the margins
LETTERS = 44  # of a name beside a number


def thin(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check that every bar has a name."""
    names, values = [str(name) for name in data["names"]], numbers(data["values"])
    if len(names) != len(values):
        raise TypeError(f"{len(names)} names for {len(values)} values")
    return {
        "names": names,
        "values": values,
        "y_label": str(data.get("y_label", "")),
        "limit": limit_of(data),
    }


def draw(title: str, data: Mapping[str, Any]) -> Markup:
    """Draw few bars on their side, with their names, and many upright."""
    names, values, limit = data["names"], data["values"], data.get("limit")
    if len(names) <= ROWS:
        return _rows(title, names, values, limit, data.get("y_label", ""))
    x = Scale(0, len(values), LEFT, WIDTH - RIGHT)
    y = scale([limit, *values], HEIGHT - BOTTOM, TOP, zero=True)
    bars = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is not None:
            words = tag("title", f"{name}: {number(value)}")
            top, foot = sorted((y(value), y(0)))
            bars.append(bar(x(i + 0.1), x(i + 0.9), top, foot, "bar", words))
    inner = frame(x, y, "", data.get("y_label", ""), counts=False)
    if limit is not None:
        bars.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(limit), y2=y(limit), class_="mark"))
    return svg(WIDTH, HEIGHT, *inner, *bars, label=title, class_="plot")


def _rows(
    title: str, names: Sequence[str], values: Sequence[float | None], limit: float | None, label: str
) -> Markup:
    """Few bars lie on their side, so that their names can be read."""
    foot = TOP + ROW * max(len(names), 1)
    x = scale([limit, *values], SIDE, WIDTH - SIDE, zero=True)
    parts = [text(SIDE, TOP - 9, label, "label", "start")]
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        top = TOP + ROW * i
        if value is not None:
            left, right = sorted((x(value), x(0)))
            parts.append(bar(left, max(right, left + 0.8), top + 14, top + 20, "bar"))
        if limit is not None:
            parts.append(tag("line", x1=x(limit), x2=x(limit), y1=top + 13, y2=top + 22, class_="mark"))
        whole = tag("title", f"{name}: {number(value)}")
        parts.append(tag("g", whole, text(SIDE, top + 10, _short(name), "note", "start")))
        parts.append(text(WIDTH - SIDE, top + 10, number(value), "note", "end"))
    return svg(WIDTH, foot + SIDE, *parts, label=title, class_="plot")


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


CHART = Chart("Side by side", thin, draw)
