"""Frames for plots: axes with round ticks, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from graphopt.report.html.markup import tag, text

WIDTH, HEIGHT = 300.0, 190.0  # of a plot that a pass leaves
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 22.0, 38.0  # its margins
SERIES = 6  # colours of lines


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` to a stretch of the drawing, by their logarithm when ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is drawn at the end of the stretch."""
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        share = 0.5 if high <= low else (value - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, wanted: int = 4) -> list[float]:
        """Round values inside the range, about as many as wanted."""
        if self.high <= self.low:
            return [self.low]
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            stride = max(1, (last - first + wanted) // wanted)
            return [10.0**power for power in range(first, last + 1, stride)]
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale(
    values: Iterable[float | None],
    start: float,
    end: float,
    *,
    zero: bool = False,
    log: bool = False,
    margin: float = 0.0,
) -> Scale:
    """A scale over what is finite among ``values``; with ``zero`` it begins there."""
    finite = [float(v) for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    low, high = min(finite, default=1.0 if log else 0.0), max(finite, default=1.0)
    if log:
        return Scale(low, max(high, low * 10), start, end, True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    gap = (high - low) * margin or (abs(high) or 1.0) * margin
    return Scale(low - gap, high + gap, start, end)


def frame(x: Scale, y: Scale, x_label: str = "", y_label: str = "", *, counts: bool = True) -> list[Markup]:
    """Grid lines with numbers for ``y``, numbers for ``x`` when it ``counts``, and the names of both."""
    left, right = x.start, x.end
    parts = []
    for value in y.ticks():
        parts.append(tag("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(text(left - 6, y(value) + 3.5, number(value), "tick", "end"))
    for value in x.ticks() if counts else ():
        parts.append(text(x(value), y.start + 15, number(value), "tick", "middle"))
    if x_label:
        parts.append(text((left + right) / 2, y.start + 31, x_label, "label", "middle"))
    if y_label:
        parts.append(text(left - 34, y.end - 9, y_label, "label", "start"))
    return parts


def number(value: Any) -> str:
    """A short number for an axis: 1.2k, 0.05, 3e-07."""
    if value is None:
        return "-"
    size = abs(value)
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.3g}{prefix}"
    return f"{value:.3g}"


def spread(values: Sequence[float], most: float) -> list[float]:
    """Move places apart so that labels there do not touch, ``most`` being the distance they need."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + most) if placed else value)
    return placed


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1.0, 2.0, 5.0, 10.0) if power * step >= rough * 0.999)


def bar(left: float, right: float, top: float, foot: float, class_: str, *inner: Markup) -> Markup:
    """An upright bar between two edges; ``inner`` is what lies in it, such as a title."""
    # no rect: the page resets all properties of bars, and the size of a rect is one of them
    corners = ((left, top), (right, top), (right, foot), (left, foot))
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in corners)
    return tag("polygon", *inner, points=points, class_=class_)
