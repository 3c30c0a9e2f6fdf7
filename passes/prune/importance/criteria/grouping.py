"""One importance for each class of coupled channels, from the scores of its members.

Members are layers of different scales: first each member's scores are normalised, then a class gets the
reduction of its scores over the members that it lies on (DepGraph: G. Fang et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ...coupling.ids import Ids

Scores = npt.NDArray[np.float64]
Member = tuple[Ids, Scores]

NORMALISERS: dict[str, Callable[[Scores], float]] = {
    "mean": lambda values: float(values.mean()),
    "sum": lambda values: float(values.sum()),
    "max": lambda values: float(values.max()),
    "none": lambda values: 1.0,
}
REDUCTIONS = ("mean", "sum", "max", "min", "product", "first")


def scores(members: Iterable[Member], classes: int, reduction: str, normaliser: str) -> Scores:
    """Return the importance of each class, (classes,); zero for classes that no member scores."""
    totals = _Totals(classes)
    for on, values in members:
        if len(values):
            totals.add(on, values / (NORMALISERS[normaliser](values) or 1.0))
    return totals.reduced(reduction)


class _Totals:
    """Running reductions of scores by class."""

    def __init__(self, classes: int) -> None:
        self._count = np.zeros(classes)
        self._sum = np.zeros(classes)
        self._logs = np.zeros(classes)
        self._most = np.full(classes, -np.inf)
        self._least = np.full(classes, np.inf)
        self._first = np.full(classes, np.nan)

    def add(self, on: Ids, values: Scores) -> None:
        """Take one member's scores."""
        np.add.at(self._count, on, 1.0)
        np.add.at(self._sum, on, values)
        np.add.at(self._logs, on, np.log(np.maximum(values, 1e-300)))
        np.maximum.at(self._most, on, values)
        np.minimum.at(self._least, on, values)
        new, places = np.unique(on, return_index=True)
        unset = np.isnan(self._first[new])
        self._first[new[unset]] = values[places[unset]]

    def reduced(self, reduction: str) -> Scores:
        """Return one number a class."""
        some = self._count > 0
        count = np.maximum(self._count, 1.0)
        means = {
            "mean": self._sum / count,
            "sum": self._sum,
            "max": self._most,
            "min": self._least,
            "product": np.exp(self._logs / count),  # the geometric mean, which many members cannot overflow
            "first": self._first,
        }[reduction]
        return np.asarray(np.where(some, means, 0.0), np.float64)
