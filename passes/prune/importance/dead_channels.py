"""Channels that do not matter at all; what the others matter is in obs.py and criteria."""

from __future__ import annotations

import numpy as np

from ..coupling.builder import ParameterAxis
from ..coupling.coupling import Coupling
from ..coupling.ids import FIXED, Ids


def dead_classes(coupling: Coupling) -> Ids:
    """Return the classes whose removal changes nothing.

    Either every filter, bias and shift that makes them is zero and nothing on the way turns zeros into other
    values, or every weight that reads them is zero.  Channels that one normalisation spans with others count
    for these.
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
    made[list(coupling.broken_zeros)] = False
    dead = (made & is_made) | (read & is_read)
    dead[[FIXED, *coupling.walls, *coupling.inexact]] = False
    return np.flatnonzero(dead & (coupling.classes == np.arange(len(coupling.classes))))


def _is_zero(slot: ParameterAxis) -> np.ndarray:
    """Return for each channel whether all its entries are zero."""
    return ~np.any(slot.rows(), axis=1)
