"""Smallest and largest value of a tensor over all samples."""

from __future__ import annotations

import math

import numpy as np

from graphopt.calibration.statistics.base import State


class Range:
    """Exact minimum and maximum; inf and -inf before the first finite element.

    With a ``floor``, below which no value can lie, the minimum is not looked for: it is said to be the floor,
    and the largest value of each channel is enough of a tensor.
    """

    def __init__(self, floor: float | None = None) -> None:
        self.floor = floor
        self.minimum = math.inf
        self.maximum = -math.inf
        self.count = 0
        self.nonfinite = 0

    @property
    def key(self) -> str:
        return "Range" if self.floor is None else f"Range(floor={self.floor})"

    @property
    def absmax(self) -> float:
        """max|x|; 0 before the first finite element."""
        return max(-self.minimum, self.maximum, 0.0)

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor, of any shape."""
        if values.size == 0:
            return
        high = float(values.max())
        low = float(values.min()) if self.floor is None or not math.isfinite(high) else self.floor
        if not (math.isfinite(low) and math.isfinite(high)):  # so exactly when some element is not finite
            kept = values[np.isfinite(values)]
            self.nonfinite += values.size - kept.size
            self.update(kept)
            return
        self.count += values.size
        self.minimum = min(self.minimum, low)
        self.maximum = max(self.maximum, high)

    def merge(self, other: Range) -> Range:
        """The range of both sets of samples."""
        merged = Range(self.floor)
        merged.minimum = min(self.minimum, other.minimum)
        merged.maximum = max(self.maximum, other.maximum)
        merged.count = self.count + other.count
        merged.nonfinite = self.nonfinite + other.nonfinite
        return merged

    def state(self) -> State:
        return {
            "extremes": np.array([self.minimum, self.maximum]),
            "counts": np.array([self.count, self.nonfinite], np.int64),
        }

    def restore(self, state: State) -> None:
        self.minimum, self.maximum = (float(v) for v in state["extremes"])
        self.count, self.nonfinite = (int(v) for v in state["counts"])
