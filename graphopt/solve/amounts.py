"""The steps of a search for how much a model can lose: where nobody says, trials find out."""

from __future__ import annotations

STEPS = 64  # time: amounts that are told apart; a search by halves takes six trials


def amount_at(step: int) -> float:
    """Return the share of the model to take away at one of the steps 0 to ``STEPS``, finely at first.

    Where a search ends is nearer to the beginning, because what is lost rises faster than what is saved: so
    the first steps are a fifth of a percent apart, the last ones 2.3 percent.
    """
    return float((step / STEPS) ** 1.5)
