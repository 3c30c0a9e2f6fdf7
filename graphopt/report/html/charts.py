"""The plots of a report, drawn while it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.report.html.axes import Scale, frame, number, scale, spread
from graphopt.report.html.markup import path, svg, tag, text

WIDTH, HEIGHT = 300.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 22.0, 38.0
SERIES = 6  # colours of lines


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
        at, top = x(low + i * step), min(y(count), HEIGHT - BOTTOM - 1)
        middle = low + (i + 0.5) * step
        outside = len(limits) == 2 and not limits[0] <= middle <= limits[1]
        bars.append(
            tag(
                "rect",
                x=at,
                y=top,
                width=max(x(low + (i + 1) * step) - at, 0.8),
                height=HEIGHT - BOTTOM - top,
                class_="bar faint" if outside else "bar",
            )
        )
    marks = [tag("line", x1=x(v), x2=x(v), y1=TOP, y2=HEIGHT - BOTTOM, class_="mark") for v in limits]
    names = [text(x(v), TOP - 5, number(v), "note", "end" if x(v) > WIDTH / 2 else "start") for v in limits]
    return svg(WIDTH, HEIGHT, *frame(x, y, "value", ""), *bars, *marks, *names, label=title, class_="plot")


def _lines(title: str, data: Mapping[str, Any]) -> Markup:
    xs, series = data["x"], data["series"]
    x = scale(xs, LEFT, WIDTH - RIGHT)
    y = scale([v for line in series for v in line["y"]], HEIGHT - BOTTOM, TOP, margin=0.05)
    parts = frame(x, y, data.get("x_label", ""), data.get("y_label", ""))
    for mark in data.get("marks", ()):
        at = x(mark["x"])
        parts.append(tag("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
        parts.append(text(at, TOP + 9, mark["label"], "note", "end" if at > WIDTH / 2 else "start"))
    for i, line in enumerate(series):
        points = [
            None if v is None or p is None else (x(p), y(v)) for p, v in zip(xs, line["y"], strict=True)
        ]
        parts.append(tag("g", tag("title", line["name"]), path(points, f"line s{i % SERIES}")))
        if len(xs) <= 24:
            dots = (tag("circle", cx=p[0], cy=p[1], r=2.2) for p in points if p)
            parts.append(tag("g", *dots, class_=f"dots s{i % SERIES}"))
    return svg(WIDTH, HEIGHT, *parts, label=title, class_="plot")


def _bars(title: str, data: Mapping[str, Any]) -> Markup:
    names, values = data["names"], data["values"]
    x = Scale(0, max(len(values), 1), LEFT, WIDTH - RIGHT)
    y = scale(values, HEIGHT - BOTTOM, TOP, zero=True)
    bars = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is not None:
            top, foot = sorted((y(value), y(0)))
            shape = {
                "x": x(i + 0.1),
                "y": top,
                "width": max(x(i + 0.9) - x(i + 0.1), 0.5),
                "height": foot - top,
            }
            bars.append(tag("rect", tag("title", f"{name}: {number(value)}"), class_="bar", **shape))
    inner = frame(x, y, "", data.get("y_label", ""), counts=False)
    return svg(WIDTH, HEIGHT, *inner, *bars, label=title, class_="plot")


_FIGURES = {"spectrum": _spectrum, "histogram": _histogram, "lines": _lines, "bars": _bars}


def columns(rows: Sequence[Mapping[str, Any]], key: str, label: str, *, log: bool = False) -> Markup | None:
    """A column a layer, what is left in front of what was there; None when nothing changed.

    Each of ``rows`` has its ``number``, its ``name`` and a pair (before, after) under ``key``.
    """
    shown = [row for row in rows if row[key][0] and row[key][1] is not None]
    if not any(row[key][0] != row[key][1] for row in shown):
        return None
    pitch = min(max(1100.0 / len(shown), 7.0), 44.0)
    width, height = 48.0 + pitch * len(shown) + 8, 220.0
    y = scale([value for row in shown for value in row[key]], height - 14, 24.0, zero=not log, log=log)
    parts = frame(Scale(0, 1, 44.0, width - 4), y, "", label, counts=False)
    for i, row in enumerate(shown):
        before, after = row[key]
        at = 48.0 + i * pitch
        told = tag("title", f"{row['name']}: {number(before)} → {number(after)}")
        bars = (_column(at, pitch, y, before, "was"), _column(at, pitch, y, after, "is"))
        parts.append(tag("g", told, *bars, data_go=row["number"]))
    return svg(width, height, *parts, label=label, class_="plot wide", fixed=True)


def _column(at: float, pitch: float, y: Scale, value: float, class_: str) -> Markup:
    top = y(value)
    return tag(
        "rect", x=at, y=top, width=max(0.86 * pitch, 3.0), height=max(y.start - top, 0.0), class_=class_
    )


def signals(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The signal-to-noise ratio after each layer, in the order they compute; None when it is not known."""
    shown = [row for row in rows if row["snr"] is not None and row["snr"] < 120]
    if len(shown) < 2:
        return None
    pitch = min(max(1100.0 / len(shown), 4.0), 44.0)
    width, height = 48.0 + pitch * len(shown) + 8, 190.0
    y = scale([row["snr"] for row in shown], height - 14, 24.0, margin=0.06)
    points = [(48.0 + (i + 0.5) * pitch, y(row["snr"])) for i, row in enumerate(shown)]
    parts = frame(Scale(0, 1, 44.0, width - 4), y, "", "dB", counts=False)
    dots = (
        tag(
            "circle",
            tag("title", f"{row['name']}: {row['snr']:.1f} dB"),
            cx=p[0],
            cy=p[1],
            r=3.2,
            data_go=row["number"],
        )
        for p, row in zip(points, shown, strict=True)
    )
    return svg(
        width, height, *parts, path(points, "line s0"), tag("g", *dots, class_="dots s0"),
        label="signal to noise after each layer", class_="plot wide", fixed=True,
    )  # fmt: skip


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
