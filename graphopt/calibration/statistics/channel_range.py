"""Smallest and largest value of each channel."""

from __future__ import annotations

import math

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.errors import DataError


class ChannelRange:
    """Extremes of each channel (axis 1): ``low`` and ``high``, (C,) float64; empty before the first sample.

    Those of a channel without a finite element are inf and -inf.
    """

    def __init__(self) -> None:
        self.low, self.high = np.zeros(0), np.zeros(0)
        self.nonfinite = 0

    @property
    def key(self) -> str:
        return "ChannelRange"

    @property
    def peaks(self) -> np.ndarray:
        """max|x| of each channel; 0 where no element is finite."""
        peaks: np.ndarray = np.maximum(np.maximum(-self.low, self.high), 0.0)
        return peaks

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor; raises DataError when it has no channels or others."""
        if values.ndim < 2 or (self.low.size and values.shape[1] != self.low.size):
            raise DataError(f"of shape {values.shape} does not have the channels of an earlier sample")
        rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        low, high = rows.min(axis=1, initial=math.inf), rows.max(axis=1, initial=-math.inf)
        if rows.size and not (np.isfinite(low).all() and np.isfinite(high).all()):
            finite = np.isfinite(rows)  # some element is not
            self.nonfinite += int((~finite).sum())
            low = np.where(finite, rows, math.inf).min(axis=1)
            high = np.where(finite, rows, -math.inf).max(axis=1)
        self._widen(low.astype(np.float64), high.astype(np.float64))

    def _widen(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low = np.minimum(self.low, low) if self.low.size else low
        self.high = np.maximum(self.high, high) if self.high.size else high

    def merge(self, other: ChannelRange) -> ChannelRange:
        """The ranges of both sets of samples."""
        merged = ChannelRange()
        for part in (self, other):
            if part.low.size:
                merged._widen(part.low, part.high)
        merged.nonfinite = self.nonfinite + other.nonfinite
        return merged

    def state(self) -> State:
        return {"low": self.low, "high": self.high, "nonfinite": np.array(self.nonfinite, np.int64)}

    def restore(self, state: State) -> None:
        self.low, self.high = (np.array(state[name], np.float64) for name in ("low", "high"))
        self.nonfinite = int(state["nonfinite"])
