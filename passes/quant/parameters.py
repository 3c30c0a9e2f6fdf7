"""Scale and zero point of an activation tensor, from the range of its values.

A real number x is stored as q = clip(round(x / scale) + zero_point, 0, 255) and read as
(q - zero_point) * scale.  The scale is rounded to float32 first and the zero point follows from it, so that
0 is always stored exactly: padding, ReLU and sparse activations rely on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVELS = 255  # steps between the smallest and the largest uint8
SMALLEST_SPAN = 1e-12  # a narrower range is numerically zero; products of two scales stay normal float32


@dataclass(frozen=True)
class Bounds:
    """What the values of a tensor can never leave, e.g. [0, 6] after a ReLU6; contains zero."""

    low: float = -math.inf
    high: float = math.inf

    def within(self, other: Bounds) -> Bounds:
        """The bounds of a tensor that both hold for."""
        return Bounds(max(self.low, other.low), min(self.high, other.high))


@dataclass(frozen=True)
class Parameters:
    """How a tensor is stored in uint8; ``scale`` is exactly a float32."""

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        """The smallest number that can be stored."""
        return float(np.float32(self.scale) * np.float32(-self.zero_point))

    @property
    def high(self) -> float:
        """The largest number that can be stored."""
        return float(np.float32(self.scale) * np.float32(LEVELS - self.zero_point))


def activation_parameters(low: float, high: float, bounds: Bounds | None = None) -> Parameters:
    """Scale and zero point that store [low, high], extended to contain zero, in uint8.

    What can be stored never leaves ``bounds``, so that storing does the work of the ReLU or Clip that
    set them.  A range of nothing but zeros is stored as [0, 1].
    """
    bounds = bounds or Bounds()
    low = max(min(low, 0.0), bounds.low)
    high = min(max(high, 0.0), bounds.high)
    if high - low < SMALLEST_SPAN:
        low, high = 0.0, min(1.0, max(bounds.high, SMALLEST_SPAN))
    scale = np.float32((high - low) / LEVELS)
    zero_point = min(max(round(-low / float(scale)), 0), LEVELS)
    return _inside(Parameters(float(scale), zero_point), bounds)


def _inside(parameters: Parameters, bounds: Bounds) -> Parameters:
    """The same zero point with the largest scale, not above the given one, that stays within the bounds."""
    above, below = LEVELS - parameters.zero_point, parameters.zero_point
    limits = [bounds.high / above] if above and math.isfinite(bounds.high) else []
    limits += [-bounds.low / below] if below and math.isfinite(bounds.low) else []
    scale = np.float32(min([parameters.scale, *limits]))
    while True:
        candidate = Parameters(float(scale), parameters.zero_point)
        if candidate.low >= bounds.low and candidate.high <= bounds.high:
            return candidate
        scale = np.nextafter(scale, np.float32(0))
