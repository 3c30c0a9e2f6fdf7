"""The plots of a report, drawn while it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.report.html.charts.axes import Scale, frame, number, scale, spread
from graphopt.report.html.markup import path, svg, tag, text

WIDTH, HEIGHT = 300.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 22.0, 38.0
SERIES = 6  # colours of lines
ROWS, ROW, SIDE = 24, 24.0, 6.0  # bars at most that lie on their side, the height of one, and the margins
LETTERS = 44  # of a name beside a number
LINE = 14.0  # of a legend


def figure(kind: str, title: str, data: Mapping[str, Any]) -> Markup:
    """One plot that a pass left; KeyError or TypeError when its data is not of its kind."""
    return _FIGURES[kind](title, data)


def _spectrum(title: str, data: Mapping[str, Any]) -> Markup:
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


def _histogram(title: str, data: Mapping[str, Any]) -> Markup:
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
        bars.append(_bar(at, right, top, HEIGHT - BOTTOM, "bar faint" if outside else "bar"))
    marks = [tag("line", x1=x(v), x2=x(v), y1=TOP, y2=HEIGHT - BOTTOM, class_="mark") for v in limits]
    names = [text(x(v), TOP - 5, number(v), "note", "end" if x(v) > WIDTH / 2 else "start") for v in limits]
    return svg(WIDTH, HEIGHT, *frame(x, y, "value", ""), *bars, *marks, *names, label=title, class_="plot")


def _lines(title: str, data: Mapping[str, Any]) -> Markup:
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


def _bar(left: float, right: float, top: float, foot: float, class_: str, *inner: Markup) -> Markup:
    # no rect: the page resets all properties of bars, and the size of a rect is one of them
    corners = ((left, top), (right, top), (right, foot), (left, foot))
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in corners)
    return tag("polygon", *inner, points=points, class_=class_)


def _bars(title: str, data: Mapping[str, Any]) -> Markup:
    names, values, limit = data["names"], data["values"], data.get("limit")
    if len(names) <= ROWS:
        return _rows(title, names, values, limit, data.get("y_label", ""))
    x = Scale(0, len(values), LEFT, WIDTH - RIGHT)
    y = scale([limit, *values], HEIGHT - BOTTOM, TOP, zero=True)
    bars = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is not None:
            told = tag("title", f"{name}: {number(value)}")
            top, foot = sorted((y(value), y(0)))
            bars.append(_bar(x(i + 0.1), x(i + 0.9), top, foot, "bar", told))
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
            parts.append(_bar(left, max(right, left + 0.8), top + 14, top + 20, "bar"))
        if limit is not None:
            parts.append(tag("line", x1=x(limit), x2=x(limit), y1=top + 13, y2=top + 22, class_="mark"))
        whole = tag("title", f"{name}: {number(value)}")
        parts.append(tag("g", whole, text(SIDE, top + 10, _short(name), "note", "start")))
        parts.append(text(WIDTH - SIDE, top + 10, number(value), "note", "end"))
    return svg(WIDTH, foot + SIDE, *parts, label=title, class_="plot")


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


_FIGURES = {"spectrum": _spectrum, "histogram": _histogram, "lines": _lines, "bars": _bars}


def pareto(points: Sequence[Mapping[str, Any]], x_label: str, y_label: str) -> Markup:
    """Runs as points: ``x`` to be small, ``y`` to be large, and a line through those that no other beats.

    Each point has ``name``, ``x``, ``y`` and ``kind`` (``run`` or ``original``).
    """
    width, height, left = 680.0, 360.0, 56.0
    x = scale([p["x"] for p in points], left, width - 24, margin=0.1)
    y = scale([p["y"] for p in points], height - 44, 28.0, margin=0.12)
    parts = frame(x, y, x_label, y_label)
    best = sorted((p for p in points if not any(_beats(q, p) for q in points)), key=lambda p: p["x"])
    parts.append(path([(x(p["x"]), y(p["y"])) for p in best], "front"))
    ordered = sorted(points, key=lambda p: y(p["y"]))
    for point, at in zip(ordered, spread([y(p["y"]) for p in ordered], 14.0), strict=True):
        here, right = x(point["x"]), x(point["x"]) > width * 0.7
        told = tag("title", f"{point['name']}: {number(point['x'])}, {number(point['y'])}")
        dot = tag(
            "circle",
            told,
            cx=here,
            cy=y(point["y"]),
            r=6,
            class_=f"{point['kind']} s{point['colour'] % SERIES}",
        )
        beside = here + (-11 if right else 11)
        parts.extend((dot, text(beside, at + 4, point["name"], "name", "end" if right else "start")))
    return svg(width, height, *parts, label=f"{y_label} against {x_label}", class_="plot pareto")


def _beats(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether ``a`` is no worse than ``b`` in both and better in one."""
    return bool(a["x"] <= b["x"] and a["y"] >= b["y"] and (a["x"] < b["x"] or a["y"] > b["y"]))
