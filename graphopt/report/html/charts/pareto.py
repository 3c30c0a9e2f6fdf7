"""Runs as points of quality against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.report.html.charts.axes import SERIES, frame, number, scale, spread
from graphopt.report.html.markup import path, svg, tag, text


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
        words = tag("title", f"{point['name']}: {number(point['x'])}, {number(point['y'])}")
        dot = tag(
            "circle",
            words,
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
