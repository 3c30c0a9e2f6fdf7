"""Curves over one axis, each with its name.

``x`` and ``series``, a list of ``{"name", "y"}`` with as many ``y`` as ``x``; ``x_label``, ``y_label``,
``marks``, a list of ``{"x", "label"}``, and ``limit``, the most that is allowed, or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.record.plots import Chart, limit_of, numbers, picked
from graphopt.report.html.charts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, SERIES, TOP, WIDTH, frame, scale
from graphopt.report.html.markup import path, svg, tag, text

LINE = 14.0  # of a legend


def thin(data: Mapping[str, Any]) -> dict[str, Any]:
    """Keep at most POINTS points of each line."""
    x = numbers(data["x"])
    kept = picked(len(x))
    series = [{"name": str(line["name"]), "y": numbers(line["y"])} for line in data["series"]]
    for line in series:
        if len(line["y"]) != len(x):
            raise TypeError(f"{line['name']} has {len(line['y'])} points for {len(x)} places")
        line["y"] = [line["y"][i] for i in kept]
    return {
        "x": [x[i] for i in kept],
        "series": series,
        "x_label": str(data.get("x_label", "")),
        "y_label": str(data.get("y_label", "")),
        "marks": [{"x": float(m["x"]), "label": str(m["label"])} for m in data.get("marks", ())],
        "limit": limit_of(data),
    }


def draw(title: str, data: Mapping[str, Any]) -> Markup:
    """Draw the lines, the limit and the marks, and a legend where there are several lines."""
    xs, series = data["x"], data["series"]
    x = scale([*xs, *(mark["x"] for mark in data.get("marks", ()))], LEFT, WIDTH - RIGHT)
    limit = data.get("limit")
    values = [v for line in series for v in line["y"]]
    y = scale([limit, *values], HEIGHT - BOTTOM, TOP, zero=limit is not None, margin=0.05)
    parts = frame(x, y, data.get("x_label", ""), data.get("y_label", ""))
    if limit is not None:
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(limit), y2=y(limit), class_="mark"))
        parts.append(text(WIDTH - RIGHT, y(limit) - 4, "limit", "note", "end"))
    for mark in data.get("marks", ()):
        at = x(mark["x"])
        parts.append(tag("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
        is_right = at > WIDTH / 2
        beside = at - 4 if is_right else at + 4
        parts.append(text(beside, TOP + 9, mark["label"], "note", "end" if is_right else "start"))
    for i, line in enumerate(series):
        places = zip(xs, line["y"], strict=True)
        points = [(x(p), y(v)) for p, v in places if p is not None and v is not None]
        parts.append(tag("g", tag("title", line["name"]), path(points, f"line s{i % SERIES}")))
        if len(xs) <= 24:
            dots = (tag("circle", cx=p[0], cy=p[1], r=2.2) for p in points)
            parts.append(tag("g", *dots, class_=f"dots s{i % SERIES}"))
    legend = _legend([line["name"] for line in series]) if len(series) > 1 else []
    return svg(WIDTH, HEIGHT + LINE * len(legend), *parts, *legend, label=title, class_="plot")


def _legend(names: Sequence[str]) -> list[Markup]:
    """The names of lines below a plot, each beside a dot of its colour."""
    rows = []
    for i, name in enumerate(names):
        at = HEIGHT + LINE * i + 7
        dot = tag("g", tag("circle", cx=LEFT + 4, cy=at - 4, r=3.2), class_=f"dots s{i % SERIES}")
        rows.append(tag("g", dot, text(LEFT + 12, at, name, "note", "start")))
    return rows


CHART = Chart("Trials", thin, draw)
