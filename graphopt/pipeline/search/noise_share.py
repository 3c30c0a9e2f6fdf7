"""Noise of a model's float tensors as a share of what they vary by from sample to sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.data import is_float
from graphopt.metrics.base import Outputs

UNKNOWN = 100.0  # fixed: points where nothing can be compared, or sizes differ


class NoiseShare:
    """Collects the noise of tensors ``names``, which stand at ``where`` in the model that is judged."""

    def __init__(self, names: Sequence[str], where: Sequence[str]) -> None:
        self._where = dict(zip(names, where, strict=True))
        self._signal: dict[str, Variation] = {}
        self._noise: dict[str, float] = {}
        self._verdict: float | None = None

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Any, truth: Any) -> None:
        """Take the tensors of both models for one sample."""
        for name, value in (reference or {}).items():
            if not isinstance(value, np.ndarray) or not is_float(value.dtype):
                continue
            new = outputs[self._where[name]]
            if value.shape != new.shape:
                self._verdict = UNKNOWN  # data-dependent sizes: the result is a different one
                return
            counts = np.isfinite(value)
            was, error = value.astype(np.float64), new.astype(np.float64) - value
            if not np.isfinite(error[counts]).all():
                self._verdict = math.inf
                return
            self._signal.setdefault(name, Variation()).add(np.where(counts, was, 0.0))
            self._noise[name] = self._noise.get(name, 0.0) + float(np.square(error[counts]).sum())

    @property
    def is_settled(self) -> bool:
        """Whether no further sample changes the result."""
        return self._verdict is not None

    @property
    def spread(self) -> float:
        """The standard deviation of an element over the samples, the mean over all tensors' elements."""
        powers = [(signal.power, signal.elements) for signal in self._signal.values()]
        elements = sum(count for _, count in powers)
        return math.sqrt(sum(power for power, _ in powers) / elements) if elements else 0.0

    @property
    def points(self) -> float:
        """Noise power of the worst tensor in percent; infinite where numbers became none."""
        if self._verdict is not None:
            return self._verdict
        shares = (noise / (self._signal[name].power or 1.0) for name, noise in self._noise.items())
        return max((100.0 * share for share in shares), default=UNKNOWN)


class Variation:
    """Power of an output around its mean over the samples; around zero where its shape changes."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._sum: np.ndarray | None = None
        self._count = 0
        self.elements = 0  # of all samples together
        self._same_shape = True

    def add(self, value: np.ndarray) -> None:
        """Take one sample's output, float64."""
        self._squares += float(np.square(value).sum())
        self._count += 1
        self.elements += value.size
        if self._sum is None:
            self._sum = np.zeros_like(value)
        self._same_shape = self._same_shape and self._sum.shape == value.shape
        if self._same_shape:
            self._sum += value

    @property
    def power(self) -> float:
        """Sum of squares over all samples and elements."""
        if self._sum is None or not self._same_shape or self._count < 2:
            return self._squares
        return max(self._squares - float(np.square(self._sum).sum()) / self._count, 0.0)
