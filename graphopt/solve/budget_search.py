"""Reach a goal that can only be measured, such as a network's time, with plans made by prediction.

What is predicted for the parts does not quite add up to what is measured for the whole.  So each plan is
measured, and the budget that plans are made for is moved along the line between the last plans on either side
of the goal until what is measured fits (regula falsi).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

TRIES = 6  # time: plans measured at most
# noise: of the goal; a ratio of two times that is above it by no more counts as met.  Measured a dozen times,
# ratios of two small ResNets had standard deviations of 0.4 and 0.8 %: this is two of the larger, and a bit.
CLOSE = 0.02
WASTED = 2  # time: times that, below the goal, is as near as the search comes: another try would win less
# time: of the way between two plans that the next budget keeps from either, so that regula falsi moves on
INSIDE = 0.1

Plan = TypeVar("Plan", bound=Hashable)


@dataclass(frozen=True)
class BudgetSearch(Generic[Plan]):
    """A plan, the ratio that it was measured to come to, and whether that is the goal."""

    plan: Plan
    ratio: float
    met: bool


def search_budget(
    goal: float,
    start: Plan,
    propose: Callable[[float], tuple[Plan, bool]],
    measure: Callable[[Plan], float],
    tries: Iterable[object],
    *,
    close: float,
) -> BudgetSearch[Plan]:
    """Return the plan whose measured ratio to ``start`` is nearest to ``goal``, of those that were tried.

    ``propose(budget)`` returns the best plan predicted to fit into a budget, and True; where there is none,
    the least there is, and False.  A ratio up to ``close`` of the goal above it counts as the goal.  Where
    that is not reached, the plan of the least ratio comes back; ``start`` has 1.
    """
    most = goal * (1 + close)
    best = BudgetSearch(start, 1.0, goal >= 1.0)
    below, above = (0.0, 0.0), (1.0, 1.0)  # budgets and their ratios
    budget, tried = goal, set[Plan]()
    for _ in tries:
        plan, possible = propose(budget)
        if plan in tried:
            break  # plans are too coarse for anything between
        tried.add(plan)
        ratio = 1.0 if plan == start else measure(plan)
        met = ratio <= most
        search = BudgetSearch(plan, ratio, met)
        if _is_better(search, best):
            best = search
        wastes = ratio < goal * (1 - WASTED * close)
        if (met and not wastes) or not (met or possible):
            break
        below, above = ((budget, ratio), above) if met else (below, (budget, ratio))
        budget = _between(below, above, goal)
    return best


def _between(below: tuple[float, float], above: tuple[float, float], goal: float) -> float:
    """The budget at which the goal lies on the line between two plans, well inside."""
    rise = above[1] - below[1]
    part = (goal - below[1]) / rise if rise > 0 else 0.5
    return below[0] + min(max(part, INSIDE), 1 - INSIDE) * (above[0] - below[0])


def _is_better(search: BudgetSearch[Plan], best: BudgetSearch[Plan]) -> bool:
    """Whether a plan is nearer to what is wanted: first to keep the goal, then to waste little."""
    if search.met != best.met:
        return search.met
    return search.ratio > best.ratio if search.met else search.ratio < best.ratio
