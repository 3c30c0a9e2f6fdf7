"""Which weights go: a share of them, all but N of every M by what each costs, or those below a size."""

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

    def chooser(self, sizes: np.ndarray) -> Chooser:
        """Return what chooses in one layer, part after part, so that of all parts the ratio goes.

        ``sizes`` of its weights, (groups, outputs, columns), do not matter: costs decide.
        """
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
    """All but the ``keep`` most expensive of every ``of`` consecutive columns."""

    keep: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Blocks:
        """Read ``2of4``; UsageError for anything else."""
        match = _TEXT.fullmatch(text)
        if not match or not 0 < int(match[1]) < int(match[2]):
            raise UsageError(
                f"sparsify: pattern takes NofM with N below M, not '{text}'", hint="for example pattern=2of4"
            )
        return cls(int(match[1]), int(match[2]))

    def chooser(self, sizes: np.ndarray) -> Chooser:
        """Return what chooses in one layer, part after part, by costs alone."""
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


@dataclass(frozen=True)
class Below:
    """Every weight whose size is below ``threshold``, whatever it costs."""

    threshold: float

    def gone(self, sizes: np.ndarray) -> np.ndarray:
        """The mask of those that go; sizes are compared in the weights' own precision."""
        return np.asarray(sizes < sizes.dtype.type(self.threshold))

    def chooser(self, sizes: np.ndarray) -> Chooser:
        """Return what gives the mask part after part: groups one after another, columns from the first on.

        ``sizes`` are those of the layer's weights before any was fitted, (groups, outputs, columns).
        """
        gone = self.gone(sizes)
        group = start = 0

        def choose(costs: np.ndarray) -> np.ndarray:
            nonlocal group, start
            if start == gone.shape[2]:
                group, start = group + 1, 0
            part = gone[group, :, start : start + costs.shape[1]]
            start += costs.shape[1]
            return part

        return choose

    @property
    def block(self) -> int:
        """Columns to look at together."""
        return BLOCK

    def __str__(self) -> str:
        return f"those below {self.threshold:g}"


Pattern = Share | Blocks | Below
