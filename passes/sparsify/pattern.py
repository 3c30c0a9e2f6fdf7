"""Which weights go, given what each costs: a share of them, or all but N of every M."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from graphopt.errors import UsageError
from graphopt.passes.sparsify.elimination import BLOCK, Chooser

_TEXT = re.compile(r"(\d+)of(\d+)")


@dataclass(frozen=True)
class Share:
    """The cheapest ``ratio`` of all weights that are looked at together."""

    ratio: float

    def chooser(self) -> Chooser:
        """Return what chooses in one layer, part after part, so that of all parts the ratio goes."""
        seen = taken = 0

        def choose(costs: np.ndarray) -> np.ndarray:
            nonlocal seen, taken
            seen += costs.size
            count = min(max(round(self.ratio * seen) - taken, 0), costs.size)
            taken += count
            gone = np.zeros(costs.size, bool)
            gone[np.argsort(costs, axis=None, kind="stable")[:count]] = True
            return gone.reshape(costs.shape)

        return choose

    @property
    def block(self) -> int:
        """Columns to look at together."""
        return BLOCK

    def __str__(self) -> str:
        return f"{self.ratio:.0%} of the weights"


@dataclass(frozen=True)
class Blocks:
    """All but the ``keep`` dearest of every ``of`` consecutive columns."""

    keep: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Blocks:
        """Read ``2of4``; UsageError for anything else."""
        found = _TEXT.fullmatch(text)
        if not found or not 0 < int(found[1]) < int(found[2]):
            raise UsageError(
                f"sparsify: pattern takes NofM with N below M, not '{text}'", hint="for example pattern=2of4"
            )
        return cls(int(found[1]), int(found[2]))

    def chooser(self) -> Chooser:
        """Return what chooses in one layer, part after part."""
        return self._choose

    def _choose(self, costs: np.ndarray) -> np.ndarray:
        """The mask of those that go; ``costs`` is (outputs, columns)."""
        outputs, columns = costs.shape
        whole = columns - columns % self.of
        gone = np.zeros(costs.shape, bool)
        parts = costs[:, :whole].reshape(outputs, -1, self.of)
        rank = np.argsort(np.argsort(parts, axis=2, kind="stable"), axis=2, kind="stable")
        gone[:, :whole] = (rank < self.of - self.keep).reshape(outputs, whole)
        return gone

    @property
    def ratio(self) -> float:
        """The share of weights that go."""
        return 1.0 - self.keep / self.of

    @property
    def block(self) -> int:
        """Columns to look at together."""
        return self.of * max(1, BLOCK // self.of)

    def __str__(self) -> str:
        return f"all but {self.keep} of every {self.of} weights"


Pattern = Share | Blocks
