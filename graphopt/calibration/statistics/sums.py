"""Sums of float64 arrays whose value does not depend on the order of the terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class CompensatedSum:
    """A running sum with its rounding error kept beside it.

    ``add`` uses Knuth's TwoSum, so the total has about twice the precision of float64 and rounds to the same
    value for every order of the terms, short of catastrophic cancellation.
    """

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def zeros(cls, *shape: int) -> CompensatedSum:
        return cls(np.zeros(shape), np.zeros(shape))

    def add(self, term: np.ndarray) -> None:
        """Add an array of the same shape."""
        total = self.high + term
        part = total - self.high
        self.low = self.low + ((self.high - (total - part)) + (term - part))
        self.high = total

    def merge(self, other: CompensatedSum) -> CompensatedSum:
        """The sum of both."""
        merged = CompensatedSum(self.high, self.low + other.low)
        merged.add(other.high)
        return merged

    @property
    def value(self) -> np.ndarray:
        """The total, float64."""
        total: np.ndarray = self.high + self.low
        return total
