"""Curves of a sensitivity study as one drawing: a line for each item, the most sensitive ones named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from graphopt.report.html.charts.axes import Scale, frame, number, scale, spread
from graphopt.report.html.markup import path, svg, tag, text

if TYPE_CHECKING:
    from graphopt.record.sensitivity import Point, Sensitivity

WIDTH, HEIGHT = 960.0, 520.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 270.0, 48.0, 46.0
NAMED = 12  # lines with a colour and a name beside them
LONGEST = 40  # characters of such a name
MOST_TICKS = 10
EQUAL = 120.0  # dB; above, nothing is to be seen

LABELS = {
    "metric_drop": "points of the metric lost",
    "top1_drop": "points of top-1 lost",
    "disagreement": "answers that changed (%)",
    "snr_db": "SQNR (dB)",
}
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:15px;fill:#111}.grid{stroke:#ddd}"
    ".line{fill:none;stroke:#bbb;stroke-width:1}.named{stroke-width:2}"
    + "".join(f".s{i}{{stroke:{c}}}text.s{i}{{stroke:none;fill:{c}}}" for i, c in enumerate(_COLOURS))
    + "circle{stroke:none!important}"
    + "".join(f"circle.s{i}{{fill:{c}}}" for i, c in enumerate(_COLOURS))
)


def draw(study: Sensitivity, *, titled: bool = True) -> Markup:
    """The curves as SVG text that stands alone, or, not ``titled``, stands on a page that has its colours."""
    measure = study.measure
    curves = [(item, points) for item, points in study.curves().items() if _values(study, points, measure)]
    curves.sort(key=lambda curve: _degradation(study, curve[1], measure), reverse=True)
    named, others = curves[:NAMED], curves[NAMED:]
    levels = [p.level for _, points in curves for p in points if _value(study, p, measure) is not None]
    x = scale(levels, LEFT, WIDTH - RIGHT, margin=0.03)
    y = scale(
        [v for _, points in curves for v in _values(study, points, measure)],
        HEIGHT - BOTTOM,
        TOP,
        margin=0.05,
    )
    parts = [
        *([tag("style", _STYLE), _title(study)] if titled else []),
        *frame(x, y, "level", LABELS[measure], counts=False),
        *(text(x(level), y.start + 15, number(level), "tick", "middle") for level in _ticks(levels)),
    ]
    parts += [_line(study, item, points, measure, x, y, "line") for item, points in others]
    for index, (item, points) in enumerate(named):
        parts.append(_line(study, item, points, measure, x, y, f"line named s{index % len(_COLOURS)}"))
    ends = [y(_values(study, points, measure)[-1]) for _, points in named]
    order = sorted(range(len(named)), key=lambda i: ends[i])
    for place, index in zip(spread([ends[i] for i in order], 14.0), order, strict=True):
        parts.append(
            text(WIDTH - RIGHT + 10, place + 4, _short(named[index][0]), f"s{index % len(_COLOURS)}")
        )
    return svg(
        WIDTH,
        HEIGHT,
        *parts,
        label="sensitivity curves",
        class_="plot curves",
        xmlns="http://www.w3.org/2000/svg",
    )


def _title(study: Sensitivity) -> Markup:
    return text(LEFT, 20, f"{study.step}: {Path(study.model).name}, {study.samples} samples", "title")


def _ticks(levels: Sequence[float]) -> list[float]:
    """Levels that were measured, the ends among them, and no more than fit."""
    measured = sorted(set(levels))
    stride = -(-(len(measured) - 1) // MOST_TICKS) or 1
    return [*measured[:-1:stride], measured[-1]] if measured else []


def _line(
    study: Sensitivity, item: str, points: Sequence[Point], measure: str, x: Scale, y: Scale, kind: str
) -> Markup:
    places = []
    dots = []
    for point in points:
        value = _value(study, point, measure)
        if value is None:
            continue
        places.append((x(point.level), y(value)))
        title = tag("title", f"{item} at {number(point.level)}: {number(value)}")
        dots.append(tag("circle", title, cx=places[-1][0], cy=places[-1][1], r=2.5, class_=kind.split()[-1]))
    return tag("g", tag("title", item), path(places, kind), *dots, fill="#bbb")


def _value(study: Sensitivity, point: Point, measure: str) -> float | None:
    value = study.value(point, measure)
    return min(value, EQUAL) if value is not None and measure == "snr_db" else value


def _values(study: Sensitivity, points: Sequence[Point], measure: str) -> list[float]:
    values = (_value(study, point, measure) for point in points)
    return [value for value in values if value is not None and math.isfinite(value)]


def _degradation(study: Sensitivity, points: Sequence[Point], measure: str) -> float:
    """How bad the worst level of an item is."""
    values = _values(study, points, measure)
    return -min(values) if measure == "snr_db" else max(values)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"…{name[-LONGEST + 1 :]}"
