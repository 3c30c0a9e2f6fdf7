"""Moments and ranges of each channel of a tensor."""

from __future__ import annotations

import math

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.calibration.statistics.sums import CompensatedSum
from graphopt.errors import DataError

_BLOCK = 2**15  # memory: elements converted at a time


class ChannelMoments:
    """Count, sum and sum of squares of each channel in float64, with its minimum and maximum.

    ``axis`` is the channel axis: 1 for [N, C, ...], -1 for the rows of a MatMul.  Arrays are (C,), and empty
    before the first sample.
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis
        self.nonfinite = 0
        self._start(0)

    def _start(self, channels: int) -> None:
        self.count = np.zeros(channels, np.int64)
        self.minimum = np.full(channels, np.inf)
        self.maximum = np.full(channels, -np.inf)
        self._sum = CompensatedSum.zeros(channels)
        self._squares = CompensatedSum.zeros(channels)

    @property
    def key(self) -> str:
        return f"ChannelMoments(axis={self.axis})"

    @property
    def sum(self) -> np.ndarray:
        """Sum of x by channel."""
        return self._sum.value

    @property
    def sum_of_squares(self) -> np.ndarray:
        """Sum of x**2 by channel."""
        return self._squares.value

    @property
    def mean(self) -> np.ndarray:
        """E[x] by channel; 0 for a channel without elements."""
        mean: np.ndarray = self.sum / np.maximum(self.count, 1)
        return mean

    @property
    def variance(self) -> np.ndarray:
        """E[x**2] - E[x]**2 by channel, never negative."""
        second = self.sum_of_squares / np.maximum(self.count, 1)
        variance: np.ndarray = np.maximum(second - np.square(self.mean), 0.0)
        return variance

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor; raises DataError when it has no such axis or other channels."""
        rows = self._by_channel(values)
        if self.count.size == 0:
            self._start(rows.shape[0])
        if rows.shape[0] != self.count.size:
            raise DataError(f"has {rows.shape[0]} channels after {self.count.size} in an earlier sample")
        low, high = rows.min(axis=1, initial=np.inf), rows.max(axis=1, initial=-np.inf)
        counts = np.full(rows.shape[0], rows.shape[1])
        if rows.size and not np.isfinite([low, high]).all():  # exactly when some element is not finite
            finite = np.isfinite(rows)
            low = rows.min(axis=1, where=finite, initial=np.inf)
            high = rows.max(axis=1, where=finite, initial=-np.inf)
            counts = np.count_nonzero(finite, axis=1)
            self.nonfinite += rows.size - int(counts.sum())
            rows = np.where(finite, rows, 0.0)
        self.count += counts
        self.minimum = np.minimum(self.minimum, low)
        self.maximum = np.maximum(self.maximum, high)
        sums, squares = _sums(rows)
        self._sum.add(sums)
        self._squares.add(squares)

    def _by_channel(self, values: np.ndarray) -> np.ndarray:
        """The tensor as floats (C, everything else)."""
        if not -values.ndim <= self.axis < values.ndim:
            raise DataError(f"of shape {values.shape} has no channel axis {self.axis}")
        moved = np.moveaxis(values, self.axis, 0)
        rows = moved.reshape(moved.shape[0], math.prod(moved.shape[1:]))
        return rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float64)

    def merge(self, other: ChannelMoments) -> ChannelMoments:
        """The moments of both sets of samples."""
        if self.key != other.key:
            raise ValueError(f"{self.key} and {other.key} do not add up")
        if not self.count.size or not other.count.size:
            return (other if other.count.size else self)._copy(self.nonfinite + other.nonfinite)
        merged = self._copy(self.nonfinite + other.nonfinite)
        merged.count = self.count + other.count
        merged.minimum = np.minimum(self.minimum, other.minimum)
        merged.maximum = np.maximum(self.maximum, other.maximum)
        merged._sum = self._sum.merge(other._sum)
        merged._squares = self._squares.merge(other._squares)
        return merged

    def _copy(self, nonfinite: int) -> ChannelMoments:
        copy = ChannelMoments(self.axis)
        copy.restore({**self.state(), "nonfinite": np.array(nonfinite)})
        return copy

    def state(self) -> State:
        return {
            "count": self.count,
            "nonfinite": np.array(self.nonfinite, np.int64),
            "extremes": np.stack([self.minimum, self.maximum]),
            "sum": np.stack([self._sum.high, self._sum.low]),
            "squares": np.stack([self._squares.high, self._squares.low]),
        }

    def restore(self, state: State) -> None:
        self.count = np.array(state["count"], np.int64)
        self.nonfinite = int(state["nonfinite"])
        self.minimum, self.maximum = (row.copy() for row in state["extremes"])
        self._sum = CompensatedSum(*(row.copy() for row in state["sum"]))
        self._squares = CompensatedSum(*(row.copy() for row in state["squares"]))


def _sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of each row in float64, a cacheful of rows at a time."""
    channels, elements = rows.shape
    sums, squares = np.zeros(channels), np.zeros(channels)
    step = max(1, _BLOCK // max(elements, 1))
    for start in range(0, channels, step):
        block = rows[start : start + step].astype(np.float64)
        sums[start : start + step] = block.sum(axis=1)
        squares[start : start + step] = np.einsum("cr,cr->c", block, block)
    return sums, squares
