"""Plots as wide as the page: something of every layer, in the order they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from graphopt.report.html.charts.axes import Scale, frame, number, scale
from graphopt.report.html.markup import path, svg, tag

POINTED_AT = 1000  # memory: layers with words and a link of their own, 100 KB of page
_PAIR = ("was", "is")  # classes of what was there and of what is left, in front


def columns(rows: Sequence[Mapping[str, Any]], key: str, label: str, *, log: bool = False) -> Markup | None:
    """A column a layer, what is left in front of what was there; None when nothing changed.

    Each of ``rows`` has its ``number``, its ``name`` and a pair (before, after) under ``key``.
    """
    shown = [row for row in rows if row[key][0] and row[key][1] is not None]
    if not any(row[key][0] != row[key][1] for row in shown):
        return None
    bars = [
        (
            row,
            f"{row['name']}: {number(row[key][0])} → {number(row[key][1])}",
            dict(zip(_PAIR, row[key], strict=True)),
        )
        for row in shown
    ]
    return _wide(bars, label, log=log)


def amounts(rows: Sequence[Mapping[str, Any]], key: str, label: str) -> Markup | None:
    """A column a layer, as high as its ``key``; None when no layer has any."""
    shown = [row for row in rows if row[key]]
    bars = [(row, f"{row['name']}: {number(row[key])} {label}", {"is": row[key]}) for row in shown]
    return _wide(bars, label) if bars else None


def _wide(
    bars: Sequence[tuple[Mapping[str, Any], str, Mapping[str, float]]], label: str, *, log: bool = False
) -> Markup:
    """Columns side by side: the row each leads to, its words, and heights by class, those in front last."""
    pitch = min(max(1100.0 / len(bars), 7.0), 44.0)
    width, height = 48.0 + pitch * len(bars) + 8, 220.0
    values = [value for _, _, heights in bars for value in heights.values()]
    y = scale(values, height - 14, 24.0, zero=not log, log=log)
    parts = frame(Scale(0, 1, 44.0, width - 4), y, "", label, counts=False)
    for i, (row, title, heights) in enumerate(bars):
        at = 48.0 + i * pitch
        drawn = (_column(at, pitch, y, value, class_) for class_, value in heights.items())
        parts.append(tag("g", tag("title", title), *drawn, data_go=row["number"]))
    return svg(width, height, *parts, label=label, class_="plot wide", fixed=True)


def _column(at: float, pitch: float, y: Scale, value: float, class_: str) -> Markup:
    top = y(value)
    return tag(
        "rect", x=at, y=top, width=max(0.86 * pitch, 3.0), height=max(y.start - top, 0.0), class_=class_
    )


def signals(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The SQNR after each layer, in the order they compute; None when it is not known.

    Of more than ``POINTED_AT`` layers those with the lowest SQNR have dots that name them, and lead to them.
    """
    shown = [row for row in rows if row["snr"] is not None and row["snr"] < 120]
    if len(shown) < 2:
        return None
    pitch = min(max(1100.0 / len(shown), 4.0), 44.0)
    width, height = 48.0 + pitch * len(shown) + 8, 190.0
    y = scale([row["snr"] for row in shown], height - 14, 24.0, margin=0.06)
    points = [(48.0 + (i + 0.5) * pitch, y(row["snr"])) for i, row in enumerate(shown)]
    parts = frame(Scale(0, 1, 44.0, width - 4), y, "", "dB", counts=False)
    highest = sorted(row["snr"] for row in shown)[:POINTED_AT][-1]
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
        if row["snr"] <= highest
    )
    return svg(
        width, height, *parts, path(points, "line s0"), tag("g", *dots, class_="dots s0"),
        label="SQNR after each layer", class_="plot wide", fixed=True,
    )  # fmt: skip
