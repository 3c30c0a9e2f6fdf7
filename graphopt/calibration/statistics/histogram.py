"""A histogram of activations that is the same for every order and batch size of the samples.

The bins divide [-T, T], where T is the smallest power of two strictly above max|x|.  When a larger value
arrives, T doubles and neighbouring bins merge: edges of the coarse histogram are edges of the fine one, so no
count moves to a wrong bin.  A bin index is |x| scaled by a power of two, which is exact, then rounded down.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.calibration.statistics.range import Range

_LEAST_EXPONENT = -1000  # theory: keeps the scale of the bin index a finite float64


class Histogram:
    """Counts of |x| on both sides of zero, with exact minimum and maximum.

    ``bins`` (a power of two) is the number for each sign: ``counts`` is (2 * bins,) int64, from -T to T.
    Bin ``bins + j`` counts j <= x * bins / T < j + 1; bin ``bins - 1 - j`` its mirror image.
    Of a tensor with more than ``2 * most`` elements ``most`` are counted, at positions that depend only on
    its size; minimum, maximum and T always see every element.  With a ``floor`` no value can lie below it.
    """

    def __init__(self, bins: int = 2048, most: int = 16384, floor: float | None = None) -> None:
        if bins < 2 or bins & (bins - 1):
            raise ValueError(f"bins must be a power of two, not {bins}")
        self.bins = bins
        self.most = most
        self.range = Range(floor)
        self.exponent: int | None = None  # T = 2 ** exponent; None while all values are zero
        self.counts = np.zeros(2 * bins, np.int64)
        self._index = np.int16 if bins <= 2**14 else np.int64  # small integers keep the update in the cache

    @property
    def key(self) -> str:
        floor = "" if self.range.floor is None else f",floor={self.range.floor}"
        return f"Histogram(bins={self.bins},most={self.most}{floor})"

    @property
    def minimum(self) -> float:
        return self.range.minimum

    @property
    def maximum(self) -> float:
        return self.range.maximum

    @property
    def nonfinite(self) -> int:
        return self.range.nonfinite

    @property
    def limit(self) -> float:
        """T; 0 while all values are zero."""
        return 0.0 if self.exponent is None else float(np.ldexp(1.0, self.exponent))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self.limit / self.bins

    @property
    def edges(self) -> np.ndarray:
        """Bin edges, (2 * bins + 1,) float64, from -T to T."""
        edges: np.ndarray = np.arange(-self.bins, self.bins + 1) * self.width
        return edges

    @property
    def centres(self) -> np.ndarray:
        """Bin centres, (2 * bins,) float64."""
        centres: np.ndarray = self.edges[:-1] + 0.5 * self.width
        return centres

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor, of any shape."""
        lost = self.nonfinite
        self.range.update(values)
        self._widen(_exponent(self.range.absmax))
        values = values.reshape(-1)
        if values.size > 2 * self.most:
            values = values[_positions(values.size, self.most)]
        self._count(values[np.isfinite(values)] if self.nonfinite > lost else values)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of samples; both must have been made with the same options."""
        if self.key != other.key:
            raise ValueError(f"{self.key} and {other.key} do not add up")
        merged = Histogram(self.bins, self.most, self.range.floor)
        merged.range = self.range.merge(other.range)
        merged.exponent = _exponent(merged.range.absmax)
        merged.counts = self._coarse(merged.exponent) + other._coarse(merged.exponent)
        return merged

    def state(self) -> State:
        return {**self.range.state(), "bins": self.counts}

    def restore(self, state: State) -> None:
        self.range.restore(state)
        self.exponent = _exponent(self.range.absmax)
        self.counts = np.array(state["bins"], np.int64)

    def _count(self, values: np.ndarray) -> None:
        if self.exponent is None:
            self.counts[self.bins] += values.size
            return
        # magnitudes: rounding down is exact there even where the scaled value underflows
        scale = math.ldexp(1.0, self.bins.bit_length() - 1 - self.exponent)
        magnitude = np.abs(values.astype(self._float(values.dtype), copy=False))
        index = (magnitude * magnitude.dtype.type(scale)).astype(self._index)
        if self.minimum < 0:
            index ^= -(values < 0).astype(self._index)  # j becomes -1 - j below zero
        index += self._index(self.bins)
        self.counts += np.bincount(index, minlength=2 * self.bins)

    def _float(self, dtype: np.dtype[Any]) -> type[np.floating[Any]]:
        """float32 where it holds values and scale exactly (it is twice as fast), else float64."""
        near = self.exponent is not None and abs(self.exponent) < 100
        return np.float32 if near and dtype in (np.float16, np.float32) else np.float64

    def _widen(self, exponent: int | None) -> None:
        if exponent != self.exponent:
            self.counts = self._coarse(exponent)
            self.exponent = exponent

    def _coarse(self, exponent: int | None) -> np.ndarray:
        """The counts over [-2**exponent, 2**exponent], which must contain the present range."""
        if exponent is None or self.exponent is None or exponent == self.exponent:
            # without a nonzero value all counts are in the bin of zero
            return np.array(self.counts)
        group = 1 << min(exponent - self.exponent, self.bins.bit_length() - 1)
        coarse = np.zeros_like(self.counts)
        kept = self.bins // group
        sums = self.counts.reshape(2 * kept, group).sum(axis=1)
        coarse[self.bins - kept : self.bins + kept] = sums
        return coarse


def _exponent(absmax: float) -> int | None:
    """The smallest e with absmax < 2**e; None for zero."""
    return None if absmax == 0.0 else max(math.frexp(absmax)[1], _LEAST_EXPONENT)


@lru_cache(maxsize=64)
def _positions(size: int, count: int) -> np.ndarray:
    """``count`` increasing positions below ``size``, one at random in each of ``count`` equal parts."""
    offsets = np.random.default_rng(size).random(count)
    positions = ((np.arange(count) + offsets) * (size / count)).astype(np.int64)
    return np.minimum(positions, size - 1)
