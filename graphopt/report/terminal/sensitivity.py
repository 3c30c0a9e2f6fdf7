"""A sensitivity study as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.metrics.outputs import SNR_LIMIT
from graphopt.report.html.charts.sensitivity import LABELS
from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.record.sensitivity import Point, Sensitivity

COLUMNS = 6  # levels that fit 80 columns
_SHORT = {
    "metric_drop": "points lost",
    "top1_drop": "top-1 lost",
    "disagreement": "changed %",
    "snr_db": "SQNR dB",
}


def print_sensitivity(study: Sensitivity) -> None:
    """Print what each item costs, the most sensitive first, to stdout."""
    curves = list(study.curves().items())
    print_line(f"{study.step}: {len(curves)} items, each changed alone in {study.model}", wrap=False)
    print_line(f"measured on {study.samples} samples of {study.source}", wrap=False)
    if study.top1 is not None:
        print_line(f"top-1 before: {study.top1:.4f}")
    if study.metric is not None:
        print_line(f"{study.metric_name} before: {study.metric:.4f}")
    if curves:
        print_line(f"{LABELS[study.measure]}, the most sensitive item first:")
        levels = sorted({point.level for point in study.points})
        curves.sort(key=lambda curve: _degradation(study, curve[1]), reverse=True)
        if 1 < len(levels) <= COLUMNS and all(len(points) == len(levels) for _, points in curves):
            _print_wide(study, curves, levels)
        elif len(levels) > 1 and max(len(points) for _, points in curves) < COLUMNS:
            _print_pairs(study, curves)
        else:
            _print_long(study, curves, len(levels) > 1)
    failed = [point for point in study.points if point.error]
    for point in failed[:3]:
        print_line(f"not carried out: {point.item} at {point.level:g}: {point.error}", "warning")
    if len(failed) > 3:
        print_line(f"{len(failed) - 3} more trials were not carried out", "warning")


def _print_wide(study: Sensitivity, curves: list[tuple[str, list[Point]]], levels: Sequence[float]) -> None:
    """A row for each item, a column for each level."""
    rows = []
    for item, points in curves:
        cells = (_cell(study, point, study.measure) for point in points)
        rows.append((item, *cells, _saved(study, points)))
    header = ("item", *(f"{level:.2g}" for level in levels), "MACs")
    print_table(header, rows, right=range(1, len(header)))


def _print_pairs(study: Sensitivity, curves: list[tuple[str, list[Point]]]) -> None:
    """A row for each item, its degradation and its level in each column: items have levels of their own."""
    count = max(len(points) for _, points in curves)
    rows = []
    for item, points in curves:
        cells = [f"{_cell(study, point, study.measure)} @{point.level:.2g}" for point in points]
        rows.append((item, *cells, *[""] * (count - len(cells)), _saved(study, points)))
    header = ("item", "degradation @level", *[""] * (count - 1), "MACs")
    print_table(header, rows, right=range(1, len(header)))


def _print_long(study: Sensitivity, curves: list[tuple[str, list[Point]]], has_levels: bool) -> None:
    """A row for each item at each level, with all that was measured."""
    names = [name for name in LABELS if any(study.value(p, name) is not None for p in study.points)]
    rows = [
        (
            item,
            *([f"{point.level:g}"] if has_levels else []),
            *(_cell(study, point, name) for name in names),
            _saved(study, [point]),
        )
        for item, points in curves
        for point in points
    ]
    header = ("item", *(["level"] if has_levels else []), *(_SHORT[name] for name in names), "MACs")
    print_table(header, rows, right=range(1, len(header)))


def _cell(study: Sensitivity, point: Point, measure: str) -> str:
    value = study.value(point, measure)
    if value is None:
        return "failed" if point.error else "-"
    return "equal" if measure == "snr_db" and value >= SNR_LIMIT else f"{value:.1f}"


def _saved(study: Sensitivity, points: Sequence[Point]) -> str:
    """The most that an item can take off the multiply-accumulates of the model."""
    least = min((point.macs for point in points if point.macs is not None), default=None)
    if least is None or not study.macs:
        return "-"
    return f"{100 * (least / study.macs - 1):+.1f} %"


def _degradation(study: Sensitivity, points: Sequence[Point]) -> tuple[float, float]:
    """How bad the worst level of an item is; where answers stay the same, the signal to noise decides."""
    values = [study.value(point, study.measure) for point in points]
    ratios = [point.snr_db for point in points if point.snr_db is not None]
    sign = -1.0 if study.measure == "snr_db" else 1.0
    worst = max((sign * value for value in values if value is not None), default=-1e9)
    return worst, -min(ratios, default=0.0)
