"""The extremes of each sample, for ranges that do not grow with the number of samples."""

from __future__ import annotations

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.calibration.statistics.range import Range

Interval = tuple[float, float]


class SampleRanges:
    """Minimum and maximum of every single sample, 16 bytes each; ``merge`` puts the other's samples behind.

    The mean of them does not depend on the order of the samples, the moving average does.
    """

    def __init__(self) -> None:
        self.range = Range()
        self._extremes: list[tuple[float, float]] = []

    @property
    def key(self) -> str:
        return "SampleRanges"

    @property
    def nonfinite(self) -> int:
        return self.range.nonfinite

    @property
    def extremes(self) -> np.ndarray:
        """(samples, 2) float64; samples without a finite element are left out."""
        return np.array(self._extremes, np.float64).reshape(-1, 2)

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor, of any shape."""
        own = Range()
        own.update(values)
        self.range = self.range.merge(own)
        if own.count:
            self._extremes.append((own.minimum, own.maximum))

    def mean(self) -> Interval:
        """Mean of the minima and mean of the maxima; (0, 0) without samples."""
        if not self._extremes:
            return 0.0, 0.0
        low, high = np.sort(self.extremes, axis=0).mean(axis=0)  # sorted: the same for every order
        return float(low), float(high)

    def moving_average(self, weight: float) -> Interval:
        """The first sample's extremes, moved by ``weight`` of the distance towards each next one's."""
        if not self._extremes:
            return 0.0, 0.0
        average = self.extremes[0]
        for extremes in self.extremes[1:]:
            average = average + weight * (extremes - average)
        return float(average[0]), float(average[1])

    def merge(self, other: SampleRanges) -> SampleRanges:
        """The extremes of both sets of samples, the other's after these."""
        merged = SampleRanges()
        merged.range = self.range.merge(other.range)
        merged._extremes = [*self._extremes, *other._extremes]
        return merged

    def state(self) -> State:
        return {**self.range.state(), "samples": self.extremes}

    def restore(self, state: State) -> None:
        self.range.restore(state)
        self._extremes = [(float(low), float(high)) for low, high in state["samples"]]
