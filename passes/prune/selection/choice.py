"""What can be chosen, and the rules that choose: a ratio, a goal at equal cost or at the least total cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.solve import Curve, amount_at, fill, spend

from ..coupling.coupling import Coupling
from ..coupling.groups import Group
from ..coupling.ids import Ids
from ..importance.ranking import Ranking, keep_of
from .cost_model import CostModel
from .predict import Keep, Predictor

SEARCH_STEPS = 40  # noise: bisections; the last ones are far below one channel of any layer
# time: budgets tried until the exact size meets the goal; constants of odd sharing cost a second one
TRIES = 8


class Spendable(Protocol):
    """What widths take up, as a fraction of what is there: macs, parameters, bytes or time."""

    def of(self, widths: np.ndarray) -> float:
        """Return what these widths take up."""
        ...

    def along(self, widths: np.ndarray, cell: int, candidates: np.ndarray) -> np.ndarray:
        """Return what is taken up when one cell takes each of these widths."""
        ...


@dataclass(frozen=True)
class Choice:
    """The ranked channels of a model; every method returns the channels to keep."""

    coupling: Coupling
    rankings: Sequence[Ranking]
    dead: Ids
    allowed: Sequence[Sequence[int]]  # for each cell the widths it may take, the present one first
    adds_up: bool  # whether costs of different cells may be added, or only compared
    alike: bool = False  # whether every cell is to lose the same fraction

    @property
    def cells(self) -> list[Group]:
        """The cells, in the order of the rankings."""
        return [ranking.cell for ranking in self.rankings]

    @cached_property
    def curves(self) -> list[Curve]:
        """What each allowed width of each cell costs."""
        pairs = zip(self.rankings, self.allowed, strict=True)
        return [ranking.curve(widths) for ranking, widths in pairs]

    def by_ratio(self, ratio: float) -> Keep:
        """Remove about ``ratio`` of each cell: the allowed width nearest to that; of two, the larger."""
        return self.keep(self._widths_by(ratio))

    def by_goal(self, goal: str, fraction: float, predictor: Predictor) -> tuple[Keep, bool]:
        """Leave at most ``fraction`` of macs, params or bytes at the least cost; say if that is possible."""
        total = float(getattr(predictor.size(self.coupling.keep_all()), goal))
        usage = CostModel(self.coupling, self.cells, goal, total or 1.0)
        budget = fraction
        for _ in range(TRIES):
            widths, met = self.spend(usage, budget)
            keep = self.keep(widths)
            left = float(getattr(predictor.size(keep), goal)) / (total or 1.0)
            if left <= fraction or not met:
                return keep, left <= fraction
            budget *= fraction / left
        raise GraphoptError(f"prune cannot predict the {goal} of this model")

    def spend(self, usage: Spendable, budget: float) -> tuple[np.ndarray, bool]:
        """Return widths that use at most ``budget``, and whether there are any; else the least there are."""
        if self.alike:
            ratio, met = smallest(lambda ratio: usage.of(self._widths_by(ratio)) <= budget, 1.0)
            return self._widths_by(ratio), met
        return self._cheapest(usage, budget) if self.adds_up else self._evenest(usage, budget)

    def at_step(self, step: int, predictor: Predictor) -> Keep:
        """Return the choice at one of the ``STEPS`` of a search by trial, each smaller than the last.

        Step 0 removes dead channels only; later ones are first fine, then coarse.
        """
        if not step:
            return self.dead_only()
        amount = amount_at(step)
        if not self.adds_up:
            return self.keep(self._widths_by(amount) if self.alike else self._widths_at(amount))
        goal = "macs" if predictor.size(self.coupling.keep_all()).macs else "params"
        return self.by_goal(goal, 1.0 - amount, predictor)[0]

    def lossless(self, limit: float) -> Keep:
        """Remove of each cell what costs at most ``limit``: shares of the variance of what is read."""
        return self.keep(self._widths_at(limit))

    def dead_only(self) -> Keep:
        """Remove dead channels only, and what is fixed for single layers."""
        return keep_of(self.coupling, self.rankings, self._dead_widths)

    def keep(self, widths: Sequence[int] | np.ndarray) -> Keep:
        """The choice that leaves each cell at most so many channels; dead ones go in any case."""
        return keep_of(self.coupling, self.rankings, np.minimum(widths, self._dead_widths))

    @cached_property
    def _dead_widths(self) -> np.ndarray:
        """The allowed width of each cell that the dead channels alone can leave; they are ranked first."""
        widths = []
        for cell, allowed in zip(self.cells, self.allowed, strict=True):
            alive = len(cell.classes) - int(np.isin(cell.classes, self.dead).sum())
            widths.append(min((width for width in allowed if width >= alive), default=allowed[0]))
        return np.asarray(widths, np.int64)

    def _cheapest(self, usage: Spendable, budget: float) -> tuple[np.ndarray, bool]:
        """Let all cells pay the same price for the last unit saved."""
        spending = spend(self.curves, usage.of, usage.along, budget)
        return spending.sizes, spending.kept

    def _evenest(self, usage: Spendable, budget: float) -> tuple[np.ndarray, bool]:
        """Let all cells come to the same cost, then give back what the budget has room for."""
        most = max((float(ranking.costs[-1]) for ranking in self.rankings), default=0.0)
        cost, met = smallest(lambda cost: usage.of(self._widths_at(cost)) <= budget, most)
        widths = self._widths_at(cost)
        if not met:
            return widths, False
        return fill(self.curves, usage.of, usage.along, widths, budget), True

    def _widths_at(self, cost: float) -> np.ndarray:
        widths = [
            curve.sizes[(curve.costs <= cost) | (curve.sizes == curve.sizes[0])].min()
            for curve in self.curves
        ]
        return np.asarray(widths, np.int64)

    def _widths_by(self, ratio: float) -> np.ndarray:
        widths = []
        for cell, allowed in zip(self.cells, self.allowed, strict=True):
            wanted = (1.0 - ratio) * len(cell.classes)
            widths.append(min(allowed, key=lambda width: (abs(width - wanted), -width)))
        return np.asarray(widths, np.int64)


def smallest(good: Callable[[float], bool], largest: float) -> tuple[float, bool]:
    """Return the smallest number that is ``good``, and whether there is one up to ``largest``.

    ``good`` must stay true once the number is large enough; when it is never true, ``largest`` comes.
    """
    low, high = 0.0, largest
    if good(low):
        return low, True
    if not good(high):
        return high, False
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high, True
