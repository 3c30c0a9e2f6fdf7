"""What a backend answers about the models that it was asked to run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Kernels:
    """The kernels that a runtime chose: counts by kind, and how many of the layers run on integers."""

    counts: Mapping[str, int]
    layers: int
    integer: int


@dataclass(frozen=True)
class Answer:
    """One model in a backend: its outputs by name, or why there are none.

    ``kernels`` is None where the runtime does not tell; ``milliseconds`` are those of each timed run.
    """

    outputs: Mapping[str, np.ndarray] | None = None
    error: str = ""
    kernels: Kernels | None = None
    milliseconds: tuple[float, ...] = field(default=())

    @property
    def median_ms(self) -> float | None:
        """Milliseconds of a run; None when it was not timed."""
        return statistics.median(self.milliseconds) if self.milliseconds else None


@dataclass(frozen=True)
class RunResult:
    """The answers about all models of one call, in their order, and the backend's version."""

    version: str
    answers: tuple[Answer, ...]

    def ratio(self, index: int, reference: int) -> float | None:
        """How many times as long one model takes as another: the median over runs in turn."""
        times, others = self.answers[index].milliseconds, self.answers[reference].milliseconds
        if not times or not others:
            return None
        return statistics.median(a / b for a, b in zip(times, others, strict=False))
