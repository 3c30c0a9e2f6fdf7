"""What every statistic of activations can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

State: TypeAlias = Mapping[str, np.ndarray]


class Statistic(Protocol):
    """A value computed from the activations of one tensor, one sample at a time.

    Results must not depend on the order of the samples (integers exactly, float sums to 1e-12) and must add
    up: ``merge`` of the statistics of two halves is the statistic of the whole.
    """

    @property
    def nonfinite(self) -> int:
        """NaN and infinite elements seen; they are left out of everything else."""
        ...

    @property
    def key(self) -> str:
        """Kind and options, enough to tell two requests apart."""
        ...

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor, of any shape."""
        ...

    def merge(self, other: Any) -> Any:
        """The statistic of both sets of samples, as a new object."""
        ...

    def state(self) -> State:
        """All numbers, as arrays."""
        ...

    def restore(self, state: State) -> None:
        """Take over the numbers that ``state`` returned."""
        ...
