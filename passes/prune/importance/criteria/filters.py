"""Importance of the filters that make a channel: their norms, and how far they are from all others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...coupling.coupling import Coupling
from .grouping import Member


def l1(coupling: Coupling) -> Iterator[Member]:
    """The sum of absolute weights of each filter (H. Li et al., 2017)."""
    for on, rows in _filters(coupling):
        yield on, np.abs(rows).sum(axis=1)


def l2(coupling: Coupling) -> Iterator[Member]:
    """The sum of squared weights of each filter."""
    for on, rows in _filters(coupling):
        yield on, np.einsum("cr,cr->c", rows, rows)


def fpgm(coupling: Coupling) -> Iterator[Member]:
    """The distance of each filter from all others of its layer, summed: what lies in the middle of the others
    can be made of them (Y. He et al., 2019)."""
    for on, rows in _filters(coupling):
        squares = np.einsum("cr,cr->c", rows, rows)
        between = squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T
        yield on, np.sqrt(np.maximum(between, 0.0)).sum(axis=1)


def _filters(coupling: Coupling) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each layer that makes channels the classes, and the filters as rows, float64."""
    for slot in coupling.slots:
        if slot.role == "out":
            yield coupling.on(slot.ids), slot.rows().astype(np.float64)
