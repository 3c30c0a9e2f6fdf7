"""Predict how long a changed network takes, from the times of its layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def predict(
    whole: float,
    before: Sequence[float] | np.ndarray,
    after: Sequence[float] | np.ndarray,
    *,
    rest: float = 1.0,
) -> float:
    """Milliseconds of a changed network.

    ``whole`` is the measured time of the original, ``before`` the times of its layers as the table has them
    and ``after`` those of the changed network's (there may be more or fewer).  What the layers do not
    explain, such as additions and changes of layout, is taken to become the fraction ``rest`` of what it was.
    Where the layers take longer one by one than the whole network, all shrink alike.
    """
    total, changed = float(np.sum(before)), float(np.sum(after))
    if total >= whole:
        return whole * changed / total
    return changed + rest * (whole - total)
