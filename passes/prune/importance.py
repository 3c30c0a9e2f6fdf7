"""How much each channel matters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .coupling import Coupling
from .ledger import FIXED, Ids
from .walk import Slot

Scores = npt.NDArray[np.float64]


def l2_importance(coupling: Coupling) -> Scores:
    """Return the importance of each class: the norm of the filters that make it.

    For each layer the squared norms of its filters are divided by their mean, so that layers count alike;
    a class gets the mean over its layers, and the root of it.  Shape (ids,); computed in float64.
    """
    total = np.zeros(len(coupling.classes))
    count = np.zeros(len(coupling.classes))
    for slot in coupling.slots:
        if slot.role == "out":
            energy = channel_energy(slot)
            mean = energy.mean() or 1.0
            np.add.at(total, coupling.on(slot.ids), energy / mean)
            np.add.at(count, coupling.on(slot.ids), 1.0)
    return np.sqrt(total / np.maximum(count, 1.0))


def dead_classes(coupling: Coupling) -> Ids:
    """Return the classes whose removal changes nothing.

    Either every filter, bias and shift that makes them is zero and nothing on the way turns zeros into other
    values, or every weight that reads them is zero.
    """
    made, read = coupling.keep_all(), coupling.keep_all()  # still true: all zero so far
    is_made, is_read = ~coupling.keep_all(), ~coupling.keep_all()
    for slot in coupling.slots:
        classes = coupling.on(slot.ids)
        if slot.role == "in":
            is_read[classes] = True
            read[classes[~_is_zero(slot)]] = False
        elif slot.role in ("out", "shift"):
            is_made[classes] |= slot.role == "out"
            made[classes[~_is_zero(slot)]] = False
    made[list(coupling.stirred)] = False
    dead = (made & is_made) | (read & is_read)
    dead[[FIXED, *coupling.walls]] = False
    return np.flatnonzero(dead & (coupling.classes == np.arange(len(coupling.classes))))


def channel_energy(slot: Slot) -> Scores:
    """Return the sum of squares of each channel's entries of a constant, (channels,), in float64."""
    rows = slot.rows()
    if rows.dtype.kind != "f":  # bfloat16 and its like, which einsum does not know
        rows = rows.astype(np.float32)
    return np.asarray(np.einsum("cr,cr->c", rows, rows, dtype=np.float64), np.float64)


def _is_zero(slot: Slot) -> np.ndarray:
    """Return for each channel whether all its entries are zero."""
    return ~np.any(slot.rows(), axis=1)
