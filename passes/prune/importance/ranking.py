"""In which order the channels of each cell may go, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.solve import Curve

from ..coupling.coupling import Coupling
from ..coupling.groups import Group
from ..coupling.ids import Ids
from ..selection.predict import Keep
from .criteria.grouping import Scores


@dataclass(frozen=True)
class Ranking:
    """The classes of one cell, those that may go first in front, and the cost of the first 0, 1, ... gone."""

    cell: Group
    order: Ids  # (n,)
    costs: Scores  # (n + 1,), rising

    def curve(self, widths: Sequence[int]) -> Curve:
        """Return what each of these widths costs."""
        sizes = np.asarray(widths, np.int64)
        return Curve(sizes, self.costs[len(self.order) - sizes])


def score_rankings(cells: Sequence[Group], scores: Scores) -> list[Ranking]:
    """Rank channels by scores, large for what matters.

    The cost is the share of the score of their cell that goes with them, once for each layer that loses
    it: groups that many layers share lose fewer channels.
    """
    made = []
    for cell in cells:
        order = cell.classes[np.argsort(scores[cell.classes], kind="stable")]
        share = np.cumsum(np.maximum(scores[order], 0.0))
        costs = np.concatenate([[0.0], share]) / (share[-1] or 1.0) * len(cell.layers)
        made.append(Ranking(cell, order, costs))
    return made


def keep_of(coupling: Coupling, rankings: Sequence[Ranking], widths: Sequence[int] | np.ndarray) -> Keep:
    """Return the choice that leaves each cell so many channels."""
    keep = coupling.keep_all()
    for ranking, width in zip(rankings, widths, strict=True):
        keep[ranking.order[: len(ranking.order) - int(width)]] = False
    return keep
