"""Scale and zero point of an activation tensor, from the range of its values.

A real number x is stored as q = clip(round(x / scale) + zero_point, lowest, highest), 0 and 255 for uint8,
and read as (q - zero_point) * scale.  The scale is rounded to float32 first and the zero point follows from
it, so that 0 is always stored exactly: padding, ReLU and sparse activations rely on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graphopt.targets import Grid

UINT8 = Grid("uint8", symmetric=False)
SMALLEST_SPAN = 1e-12  # fixed: a narrower range is zero; products of two scales stay normal float32


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
    """How a tensor is stored in integers of ``dtype``; ``scale`` is exactly a float32."""

    scale: float
    zero_point: int
    dtype: str = "uint8"

    @property
    def lowest(self) -> int:
        """The smallest integer."""
        return int(np.iinfo(self.dtype).min)

    @property
    def highest(self) -> int:
        """The largest integer."""
        return int(np.iinfo(self.dtype).max)

    @property
    def low(self) -> float:
        """The smallest number that can be stored."""
        return float(np.float32(self.scale) * np.float32(self.lowest - self.zero_point))

    @property
    def high(self) -> float:
        """The largest number that can be stored."""
        return float(np.float32(self.scale) * np.float32(self.highest - self.zero_point))


def activation_parameters(
    low: float, high: float, bounds: Bounds | None = None, grid: Grid = UINT8, least: float = SMALLEST_SPAN
) -> Parameters:
    """Scale and zero point that store [low, high], extended to contain zero, on a grid.

    What can be stored never leaves ``bounds``, so that storing does the work of the ReLU or Clip that
    set them; on a symmetric grid it may, since that has its zero point in the middle.  A range narrower than
    ``least`` is widened to it, and one of nothing but zeros is stored as [0, 1].
    """
    if grid.symmetric:
        return _symmetric(max(-low, high), grid, least)
    bounds = bounds or Bounds()
    low = max(min(low, 0.0), bounds.low)
    high = min(max(high, 0.0), bounds.high)
    if high - low < SMALLEST_SPAN:
        low, high = 0.0, min(1.0, max(bounds.high, SMALLEST_SPAN))
    lowest, highest = np.iinfo(grid.dtype).min, np.iinfo(grid.dtype).max
    scale = np.float32(max(high - low, least) / (highest - lowest))
    zero_point = min(max(round(lowest - low / float(scale)), lowest), highest)
    return _inside(Parameters(float(scale), int(zero_point), grid.dtype), bounds)


def _symmetric(largest: float, grid: Grid, least: float) -> Parameters:
    """The zero point in the middle: 0 for signed integers, 128 for uint8."""
    lowest, highest = int(np.iinfo(grid.dtype).min), int(np.iinfo(grid.dtype).max)
    middle = (lowest + highest + 1) // 2
    largest = 1.0 if largest < SMALLEST_SPAN else max(largest, least / 2)
    return Parameters(float(np.float32(largest / (highest - middle))), middle, grid.dtype)


def _inside(parameters: Parameters, bounds: Bounds) -> Parameters:
    """The same zero point with the largest scale, not above the given one, that stays within the bounds."""
    above = parameters.highest - parameters.zero_point
    below = parameters.zero_point - parameters.lowest
    limits = [bounds.high / above] if above and math.isfinite(bounds.high) else []
    limits += [-bounds.low / below] if below and math.isfinite(bounds.low) else []
    scale = np.float32(min([parameters.scale, *limits]))
    while True:
        candidate = Parameters(float(scale), parameters.zero_point, parameters.dtype)
        if candidate.low >= bounds.low and candidate.high <= bounds.high:
            return candidate
        scale = np.nextafter(scale, np.float32(0))


def scaled(parameters: Parameters, factor: float) -> Parameters:
    """The parameters of a tensor ``factor`` times another, whose integers it shares."""
    if factor == 1.0:
        return parameters
    scale = float(np.float32(parameters.scale * factor))
    return Parameters(scale, parameters.zero_point, parameters.dtype)
