"""Importance from batch normalisation: |gamma|, the scale that each channel was given in training.

Normalisations are folded by then; ``fold-bn`` leaves their gamma and beta as notes of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...coupling.coupling import Coupling
from .filters import l2
from .grouping import Member

Notes = Mapping[str, Mapping[str, Any]]  # by the tensor that was normalised: "gamma" and "beta"


def scale(coupling: Coupling, notes: Notes) -> Iterator[Member]:
    """The size of gamma of each channel (network slimming: Z. Liu et al., 2017).

    Classes without a normalisation are scored by the norm of their filters.
    """
    seen: set[int] = set()
    for layer in coupling.layers:
        note = notes.get(layer.node.output.name)
        if layer.ids is not None and note is not None and len(note["gamma"]) == len(layer.ids):
            on = coupling.on(layer.ids)
            seen.update(on.tolist())
            yield on, np.abs(np.asarray(note["gamma"], np.float64))
    for on, values in l2(coupling):
        if not seen.intersection(on.tolist()):
            yield on, np.sqrt(values)
