"""Plots that passes leave for the report: plain values, thinned so that a report stays small.

A kind of plot is one file that holds a ``Chart``.  To add one, give it an entry in CHARTS; from a package of
its own, name a ``Chart`` in the entry-point group ``graphopt.charts``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.util.registry import Registry, added, named

POINTS = 128  # kept of each line and histogram; more cannot be seen


@dataclass(frozen=True)
class Figure:
    """One plot: its kind, what it shows, the node or tensor it belongs to ("" for none), and plain values.

    The kinds are the files of ``graphopt.report.html.charts`` that CHARTS names, and those that other
    packages add; each says what its ``data`` holds: lists or arrays, whose infinite numbers become null.
    """

    kind: str
    title: str
    data: Mapping[str, Any]
    node: str = ""


@dataclass(frozen=True)
class Chart:
    """A kind of plot: the heading above such plots, what is kept of their data, and how it is drawn.

    ``thin`` turns the data that a pass gives into plain values for the report file; it raises KeyError or
    TypeError when they are not of its kind.  ``draw`` turns a title and these values into SVG (markupsafe).
    """

    heading: str
    thin: Callable[[Mapping[str, Any]], dict[str, Any]]
    draw: Callable[[str, Mapping[str, Any]], Any]


GROUP = "graphopt.charts"
# By name: what draws is imported when a plot is made, and lies above this file.
CHARTS = {
    "bars": "graphopt.report.html.charts.bars:CHART",
    "histogram": "graphopt.report.html.charts.histogram:CHART",
    "lines": "graphopt.report.html.charts.lines:CHART",
    "spectrum": "graphopt.report.html.charts.spectrum:CHART",
}


@functools.cache
def charts() -> Registry:
    """All kinds of plots by name."""
    return Registry([*named(GROUP, CHARTS), *added(GROUP)], kind="kind of plot", of=Chart)


def make_figure(kind: str, title: str, data: Mapping[str, Any], node: str = "") -> Figure:
    """Check a plot and thin it to what can be seen; ValueError when its data is not of its kind."""
    if kind not in charts():
        raise ValueError(f"a figure is one of {', '.join(charts().names)}, not {kind!r}")
    chart: Chart = charts().load(kind)
    try:
        return Figure(kind, title, chart.thin(data), node)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the figure {title!r} is no {kind}: {type(error).__name__}: {error}") from error


def numbers(values: Sequence[Any]) -> list[float | None]:
    """Numbers with five digits; None where a number is not finite."""
    floats = (math.nan if value is None else float(value) for value in values)
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in floats]


def limit_of(data: Mapping[str, Any]) -> float | None:
    """The ``limit`` of a plot as a number, or None."""
    limit = data.get("limit")
    return None if limit is None else float(limit)


def picked(count: int) -> list[int]:
    """Indices of at most POINTS of ``count`` points, evenly apart, both ends among them."""
    if count <= POINTS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)})
