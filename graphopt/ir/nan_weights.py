"""Find weights that hold NaN: nothing that depends on them can be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir.tensor import Constant

if TYPE_CHECKING:
    from graphopt.ir.model import Model


def nan_weights(model: Model) -> dict[str, int]:
    """How many elements are NaN, by the name of the initializer; only those that hold any.

    Reads every float weight once.  Infinities are left alone: masks are made of them.
    """
    counts: dict[str, int] = {}
    for graph in model.graphs():
        for tensor in graph.initializers:
            if isinstance(tensor, Constant) and tensor.dtype.kind == "f" and (count := _count(tensor)):
                counts[tensor.name] = count
    return counts


def _count(tensor: Constant) -> int:
    values = tensor.values
    with np.errstate(all="ignore"):
        if not np.isnan(np.add.reduce(values, axis=None)):  # a sum is several times quicker than a count
            return 0
    return int(np.count_nonzero(np.isnan(values)))
