"""Spend a budget over groups so that all pay the same price for the last unit saved.

Each group may take one of a few sizes, each with a cost; the whole may take up so much.  For one multiplier
every group takes the size where ``cost + multiplier x use`` is least (H. Everett's method); the multiplier is
bisected, and what it leaves of the budget is filled up size by size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

ROUNDS = 3  # time: groups multiply with each other, so each decision moves the others' use
BISECTIONS = 50  # theory: halvings of the multiplier's logarithm, to the last digit of a float64
WIDEST = 1e12  # fixed: the multiplier is looked for between its inverse and this


@dataclass(frozen=True)
class Curve:
    """The sizes that a group may take, the present one first and then falling, and what each costs."""

    sizes: np.ndarray
    costs: np.ndarray


Use: TypeAlias = Callable[[np.ndarray], float]
"""The budget that a choice of sizes takes up, as a fraction of what is there."""
Slopes: TypeAlias = Callable[[np.ndarray, int, np.ndarray], np.ndarray]
"""``slopes(sizes, group, candidates)``: the use when one group takes each of these sizes."""


@dataclass(frozen=True)
class Spending:
    """The chosen size of each group, and whether the budget was kept."""

    sizes: np.ndarray
    kept: bool


def spend(curves: Sequence[Curve], use: Use, slopes: Slopes, budget: float) -> Spending:
    """Choose a size for each group at the least total cost whose use is at most ``budget``.

    When not even the smallest sizes keep the budget, they are returned.
    """
    full = np.asarray([curve.sizes[0] for curve in curves], np.int64)
    least = np.asarray([curve.sizes[-1] for curve in curves], np.int64)
    if use(full) <= budget:
        return Spending(full, True)
    if use(least) > budget:
        return Spending(least, False)
    low, high, best = -np.log(WIDEST), np.log(WIDEST), least
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        sizes = _at(curves, slopes, float(np.exp(middle)))
        if use(sizes) <= budget:
            high, best = middle, sizes
        else:
            low = middle
    return Spending(fill(curves, use, slopes, best, budget), True)


def _at(curves: Sequence[Curve], slopes: Slopes, multiplier: float) -> np.ndarray:
    """Return the sizes that one multiplier chooses."""
    sizes = np.asarray([curve.sizes[0] for curve in curves], np.int64)
    for _ in range(ROUNDS):
        before = sizes.copy()
        for number, curve in enumerate(curves):
            total = curve.costs + multiplier * slopes(sizes, number, curve.sizes)
            sizes[number] = curve.sizes[int(np.argmin(total))]
        if np.array_equal(sizes, before):
            break
    return sizes


def fill(curves: Sequence[Curve], use: Use, slopes: Slopes, sizes: np.ndarray, budget: float) -> np.ndarray:
    """Widen what the budget still has room for, the most cost saved for the least use first."""
    sizes = sizes.copy()
    while True:
        present = use(sizes)
        best: tuple[float, int, int] | None = None
        for number, curve in enumerate(curves):
            at = int(np.flatnonzero(curve.sizes == sizes[number])[0])
            wider = curve.sizes[:at]
            more = slopes(sizes, number, wider) - present if at else np.zeros(0)
            gain = curve.costs[at] - curve.costs[:at]
            for candidate in np.flatnonzero(present + more <= budget).tolist():
                worth = float(gain[candidate] / max(more[candidate], 1e-15))
                if best is None or worth > best[0]:
                    best = (worth, number, int(wider[candidate]))
        if best is None:
            return sizes
        sizes[best[1]] = best[2]
