"""What each part of a model costs to compress, as a page: sorted bars at the levels that were measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.report.html.charts.sensitivity import EQUAL, LABELS, draw
from graphopt.report.html.environment import render
from graphopt.report.html.rows import pass_colour
from graphopt.report.terminal.run import amount
from graphopt.util.files import write_text

if TYPE_CHECKING:
    from graphopt.record.sensitivity import Point, Sensitivity

UNITS = {"metric_drop": "points", "top1_drop": "points", "disagreement": "%", "snr_db": "dB"}


def render_sensitivity(study: Sensitivity) -> str:
    """The page of a study."""
    return render("sensitivity.html.j2", _view(study))


def write_plot(file: Path, study: Sensitivity) -> None:
    """Write the curves as an SVG file, or the page where its name ends in .html; OutputError if it fails."""
    page = file.suffix == ".html"
    write_text(file, render_sensitivity(study) if page else f"{draw(study)}\n")


def _view(study: Sensitivity) -> dict[str, Any]:
    from graphopt import __version__

    failed = [point for point in study.points if point.error]
    steps = [part.partition(":")[0] for part in study.step.split(",")]
    return {
        "title": Path(study.model).name,
        "study": study,
        "version": __version__,
        "colour": pass_colour(steps[-1]),
        "cards": _cards(study, len(failed)),
        "failed": failed,
        "trials": json.dumps(_trials(study), separators=(",", ":")),
        "curves": draw(study, titled=False),
    }


def _cards(study: Sensitivity, failed: int) -> list[dict[str, str]]:
    cards = [
        ("Parts", str(len(study.curves())), "each changed alone"),
        ("Trials", str(len(study.points)), f"{failed} failed" if failed else ""),
        ("Judged on", amount(study.samples), f"samples of {Path(study.source).name}"),
    ]
    if study.metric is not None:
        cards.append((study.metric_name or "Metric", f"{study.metric:.4g}", "before any trial"))
    elif study.top1 is not None:
        cards.append(("Top-1 accuracy", f"{100 * study.top1:.2f} %", "before any trial"))
    if study.latency_ms is not None:
        cards.append(("Latency", amount(study.latency_ms, "ms"), "before any trial"))
    return [
        {"title": title, "before": "", "after": value, "change": note, "tone": "note"}
        for title, value, note in cards
    ]


def _trials(study: Sensitivity) -> dict[str, Any]:
    """All that the page's script sorts and draws: what was measured, at which levels, and of which parts."""
    measures = [
        name for name in UNITS if any(_value(study, point, name) is not None for point in study.points)
    ]
    first = study.measure
    measures.sort(key=lambda name: name != first)
    return {
        "measures": [
            {"key": name, "label": LABELS[name], "unit": UNITS[name], "high": name == "snr_db"}
            for name in measures
        ],
        "levels": sorted({point.level for point in study.points if not point.error}),
        "whole": {"macs": study.macs, "parameters": study.parameters, "latency_ms": study.latency_ms},
        "parts": [
            {"name": name, "points": [_point(study, point, measures) for point in points]}
            for name, points in study.curves().items()
        ],
    }


def _point(study: Sensitivity, point: Point, measures: Sequence[str]) -> dict[str, Any]:
    values = {name: _value(study, point, name) for name in measures}
    left = {name: getattr(point, name) for name in ("macs", "parameters", "latency_ms")}
    return {"level": point.level, **{k: v for k, v in {**values, **left}.items() if v is not None}}


def _value(study: Sensitivity, point: Point, name: str) -> float | None:
    value = study.value(point, name)
    if value is None or not math.isfinite(value):
        return None
    return min(value, EQUAL) if name == "snr_db" else value
