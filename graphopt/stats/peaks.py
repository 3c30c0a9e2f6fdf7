"""The largest absolute value of each channel."""

from __future__ import annotations

import numpy as np

from graphopt.errors import DataError
from graphopt.stats.statistic import State


class ChannelPeaks:
    """max|x| of each channel (axis 1), ``peaks`` (C,) float64; empty before the first sample."""

    def __init__(self) -> None:
        self.peaks = np.zeros(0)
        self.nonfinite = 0

    @property
    def key(self) -> str:
        return "ChannelPeaks"

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor; raises DataError when it has no channels or others."""
        if values.ndim < 2 or (self.peaks.size and values.shape[1] != self.peaks.size):
            raise DataError(f"of shape {values.shape} does not have the channels of an earlier sample")
        rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        found = np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0)).astype(np.float64)
        if not np.isfinite(found).all():  # so exactly when some element is not finite
            finite = np.isfinite(rows)
            self.nonfinite += int((~finite).sum())
            found = np.abs(np.where(finite, rows, 0.0)).max(axis=1, initial=0.0).astype(np.float64)
        self.peaks = np.maximum(self.peaks, found) if self.peaks.size else found

    def merge(self, other: ChannelPeaks) -> ChannelPeaks:
        """The peaks of both sets of samples."""
        merged = ChannelPeaks()
        both = self.peaks.size and other.peaks.size
        merged.peaks = (
            np.maximum(self.peaks, other.peaks) if both else (self if self.peaks.size else other).peaks
        )
        merged.nonfinite = self.nonfinite + other.nonfinite
        return merged

    def state(self) -> State:
        return {"peaks": self.peaks, "nonfinite": np.array(self.nonfinite, np.int64)}

    def restore(self, state: State) -> None:
        self.peaks = np.array(state["peaks"], np.float64)
        self.nonfinite = int(state["nonfinite"])
