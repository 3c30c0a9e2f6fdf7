"""Importance by the median of a filter: half of its weights may be small while it stays important."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphopt.passes.prune.importance.criteria import Criterion, Evidence


def members(evidence: Evidence) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each layer the classes of its output channels, and the median size of each filter's weights."""
    for axis in evidence.coupling.slots:
        if axis.role == "out":
            yield evidence.coupling.on(axis.ids), np.median(np.abs(axis.rows()), axis=1).astype(np.float64)


MEDIAN = Criterion(members)
