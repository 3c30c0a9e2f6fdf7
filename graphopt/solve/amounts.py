"""The steps of a search for how much a model can lose: where nobody says, trials find out."""

from __future__ import annotations

import math

STEPS = 64  # time: amounts that are distinguished; a search by halves takes six trials
FINEST = 2.0**-9  # time: of the model: the first step; finer ones would need more trials to get anywhere


def amount_at(step: int) -> float:
    """Return the share of the model to take away at one of the steps 0 to ``STEPS``, finely at first.

    Where a search ends is nearer to the beginning, because what is lost rises faster than what is saved: the
    steps grow as a power that makes the first one ``FINEST``, a fifth of a percent; the last is 2.3 percent.
    """
    return float((step / STEPS) ** (math.log2(FINEST) / math.log2(1 / STEPS)))
