"""How much of a layer is looked at to fit it: one answer for every pass that fits layers."""

from __future__ import annotations

import numpy as np

# noise: with 64 positions of each these are 32,768 rows, enough for 3,276 unknowns (see least_squares.ENOUGH)
SAMPLES = 512
GRAM_BYTES = 2**28  # memory: of one layer's Gram matrix in double precision; a fit holds a few of that size
# noise: relative squared error below which there is nothing to repair; rounding the sum of 5,000 products in
# single precision makes up to 5,000 * 2**-48 = 2e-11, and half a hundred times that is a fault nobody sees
NOTHING = 1e-9
# added to variances, so that what is relative to one stays finite
TINY = float(np.finfo(np.float32).tiny)


def gram_bytes(groups: int, unknowns: int) -> int:
    """Return the size of a layer's Gram matrices, one for each group, with a row for the bias."""
    return 8 * groups * (unknowns + 1) ** 2


def has_affordable_gram(groups: int, unknowns: int) -> bool:
    """Whether the Gram matrices of a layer are worth their memory: that of 5,791 unknowns in one group is."""
    return gram_bytes(groups, unknowns) <= GRAM_BYTES
