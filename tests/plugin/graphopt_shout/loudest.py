"""The largest absolute value of a tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Loudest:
    """The largest |x| over all samples; ``nonfinite`` counts what is left out."""

    key = "loudest"

    def __init__(self) -> None:
        self.value, self.nonfinite = 0.0, 0

    def update(self, values: np.ndarray) -> None:
        """Take in one sample."""
        finite = np.abs(values[np.isfinite(values)])
        self.nonfinite += values.size - finite.size
        self.value = max(self.value, float(finite.max(initial=0.0)))

    def merge(self, other: Loudest) -> Loudest:
        """The loudest of both."""
        both = Loudest()
        both.value = max(self.value, other.value)
        both.nonfinite = self.nonfinite + other.nonfinite
        return both

    def state(self) -> Mapping[str, np.ndarray]:
        """All numbers."""
        return {"value": np.asarray(self.value), "nonfinite": np.asarray(self.nonfinite)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over the numbers of ``state``."""
        self.value, self.nonfinite = float(state["value"]), int(state["nonfinite"])
