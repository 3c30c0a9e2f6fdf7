"""What each group, layer or tensor costs to compress: the results of many trials of one change each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.util.files import plain, write_text

SCHEMA = 1
TELLING = 5  # samples whose answer must change in some trial for answers to be worth a look
COLUMNS = (
    "item",
    "level",
    "snr_db",
    "disagreement",
    "top1",
    "top1_drop",
    "metric",
    "metric_drop",
    "macs",
    "parameters",
    "latency_ms",
    "error",
)


@dataclass(frozen=True)
class Point:
    """One trial: ``item`` changed alone, as far as ``level``, and measured on held-out samples.

    ``snr_db`` is the signal-to-noise ratio of the worst output (300 for equal outputs), ``disagreement`` the
    share of samples that get another class, in points, ``top1`` the accuracy where samples have labels,
    ``metric`` what another metric gives (see ``Sensitivity.metric_name``).
    ``macs``, ``parameters`` and the predicted ``latency_ms`` are those of the changed model.  ``error`` says
    why a trial could not be carried out.
    """

    item: str
    level: float
    snr_db: float | None = None
    disagreement: float | None = None
    top1: float | None = None
    macs: int | None = None
    parameters: int | None = None
    latency_ms: float | None = None
    error: str = ""
    metric: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """What a pass does to a model, item by item; ``points`` stand in the order the pass yields its trials.

    ``top1`` (with labels), ``metric``, ``macs``, ``parameters`` and ``latency_ms`` (measured, when asked for)
    are those of the model before any trial, after the passes that ``step`` needs.
    """

    model: str
    step: str
    samples: int
    source: str
    points: tuple[Point, ...]
    macs: int | None
    parameters: int
    top1: float | None = None
    metric: float | None = None
    metric_name: str = ""
    latency_ms: float | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """The column of points that says most: the first of ``metric_drop``, ``top1_drop``,
        ``disagreement`` and ``snr_db``.

        Answers tell nothing where hardly any change: some trial must move ``TELLING`` samples.
        """
        least = 100 * TELLING / max(self.samples, 1)
        for name in ("metric_drop", "top1_drop", "disagreement"):
            values = (self.value(point, name) for point in self.points)
            if max((abs(value) for value in values if value is not None), default=0.0) >= least:
                return name
        return "snr_db"

    def value(self, point: Point, name: str) -> float | None:
        """A number of a point by its column; ``top1_drop`` and ``metric_drop`` are in points."""
        if name in ("top1_drop", "metric_drop"):
            before, after = (getattr(owner, name.removesuffix("_drop")) for owner in (self, point))
            return None if before is None or after is None else 100 * (before - after)
        number: float | None = getattr(point, name)
        return number

    def curves(self) -> dict[str, list[Point]]:
        """The points of each item, by rising level."""
        by_item: dict[str, list[Point]] = {}
        for point in self.points:
            by_item.setdefault(point.item, []).append(point)
        return {item: sorted(points, key=lambda point: point.level) for item, points in by_item.items()}

    def to_json(self) -> dict[str, Any]:
        """The results as plain values."""
        document: dict[str, Any] = plain({"schema": SCHEMA, **vars(self)})
        return document

    def csv(self) -> str:
        """The points as text with commas, one a line under a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for point in self.points:
            values = (self.value(point, name) for name in COLUMNS)
            writer.writerow("" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values)
        return text.getvalue()

    def write_csv(self, path: str | Path) -> None:
        """Write ``csv`` to a file; OutputError when that fails."""
        write_text(Path(path), self.csv())
