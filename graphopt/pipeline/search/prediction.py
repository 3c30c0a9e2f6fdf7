"""From predicted degradation to points: a fit that every trial makes better.

What passes predict is degradation at single layers; what is measured is noise at the outputs, pass after
pass, and points.  A factor for each pass leads from the one to the other, and a factor on the noise fits the
points that are expected of it (``Degradation.expected``) to those that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

LEAST, MOST = 1e-12, 1e3  # fixed: shares of variance between which noise is looked for
BISECTIONS = 60  # theory: halvings of its logarithm


class Prediction:
    """Predicts noise and points for the moves of several passes."""

    def __init__(self, passes: int, expected: Callable[[float], float]) -> None:
        self.weights = np.ones(passes)
        self._expected = expected
        self._degradation = np.zeros(passes)
        self._noise = np.zeros(passes)
        self._factors: list[float] = []  # logarithms, by which noise costs more than expected

    def learn(self, degradation: np.ndarray, noise: Sequence[float], points: float) -> None:
        """Take what a trial came to: noise after each pass, and points in the end."""
        if not all(math.isfinite(one) for one in (*noise, points)):
            return
        own = np.maximum(np.diff(np.concatenate([[0.0], noise])), 0.0)
        moved = degradation > 0
        self._degradation[moved] += degradation[moved]
        self._noise[moved] += own[moved]
        learnt = (self._degradation > 0) & (self._noise > 0)
        self.weights[learnt] = self._noise[learnt] / self._degradation[learnt]
        if noise[-1] > 0 and points > 0:
            self._factors.append(math.log(self.noise_for(points, fitted=False) / noise[-1]))

    def noise(self, degradation: np.ndarray) -> float:
        """The noise to expect, as a share of variance."""
        return float(self.weights @ degradation)

    def points(self, degradation: np.ndarray) -> float:
        """The points to expect."""
        return self._expected(self._factor * self.noise(degradation))

    def noise_for(self, points: float, *, fitted: bool = True) -> float:
        """The most noise that is expected to cost no more than these points."""
        low, high = math.log(LEAST), math.log(MOST)
        if self._expected(MOST) <= points:
            return MOST
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._expected(math.exp(middle)) <= points else (low, middle)
        return math.exp(low) / (self._factor if fitted else 1.0)

    @property
    def _factor(self) -> float:
        return math.exp(float(np.mean(self._factors))) if self._factors else 1.0
