"""Plots that passes leave for the report: plain values, thinned so that a report stays small."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

POINTS = 128  # kept of each line and histogram; more cannot be seen


@dataclass(frozen=True)
class Figure:
    """One plot: its kind, what it shows, the node or tensor it belongs to ("" for none), and plain values.

    Kinds and what their ``data`` holds (lists or arrays; numbers that are not finite become null):

    - ``spectrum``: ``values`` (singular values, descending) and ``rank`` (how many are kept).
    - ``histogram``: ``low``, ``high`` (the range that the bins divide evenly), ``counts``, and ``thresholds``
      (smallest and largest value that can be stored; either may be None).
    - ``lines``: ``x`` and ``series``, a list of ``{"name", "y"}`` with as many ``y`` as ``x``; ``x_label``,
      ``y_label``, ``marks``, a list of ``{"x", "label"}``, and ``limit``, the most that is allowed, or None.
    - ``bars``: ``names``, ``values``, ``y_label``, and ``limit`` as for lines.
    """

    kind: str
    title: str
    data: Mapping[str, Any]
    node: str = ""


def make_figure(kind: str, title: str, data: Mapping[str, Any], node: str = "") -> Figure:
    """Check a plot and thin it to what can be seen; ValueError when its data is not of its kind."""
    if kind not in _THIN:
        raise ValueError(f"a figure is one of {', '.join(_THIN)}, not {kind!r}")
    try:
        return Figure(kind, title, _THIN[kind](data), node)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the figure {title!r} is no {kind}: {type(error).__name__}: {error}") from error


def _spectrum(data: Mapping[str, Any]) -> dict[str, Any]:
    values = _numbers(data["values"])
    return {
        "values": [values[i] for i in _picked(len(values))],
        "of": len(values),
        "rank": int(data["rank"]),
    }


def _histogram(data: Mapping[str, Any]) -> dict[str, Any]:
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


def _lines(data: Mapping[str, Any]) -> dict[str, Any]:
    x = _numbers(data["x"])
    kept = _picked(len(x))
    series = [{"name": str(line["name"]), "y": _numbers(line["y"])} for line in data["series"]]
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
        "limit": _limit(data),
    }


def _bars(data: Mapping[str, Any]) -> dict[str, Any]:
    names, values = [str(name) for name in data["names"]], _numbers(data["values"])
    if len(names) != len(values):
        raise TypeError(f"{len(names)} names for {len(values)} values")
    return {
        "names": names,
        "values": values,
        "y_label": str(data.get("y_label", "")),
        "limit": _limit(data),
    }


_THIN: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "spectrum": _spectrum,
    "histogram": _histogram,
    "lines": _lines,
    "bars": _bars,
}


def _numbers(values: Sequence[Any]) -> list[float | None]:
    """Numbers with five digits; None where a number is not finite."""
    found = (math.nan if value is None else float(value) for value in values)
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in found]


def _limit(data: Mapping[str, Any]) -> float | None:
    limit = data.get("limit")
    return None if limit is None else float(limit)


def _picked(count: int) -> list[int]:
    """Indices of at most POINTS of ``count`` points, evenly apart, both ends among them."""
    if count <= POINTS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)})
