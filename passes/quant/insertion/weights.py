"""Weights in int8 and biases in int32.

Weights are symmetric: w is stored as q = clip(round(w / scale), -limit, limit), with one scale for each
output channel.  A bias enters the integer sum as it is, so its scale is the product of the scales of the
layer's input and weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array

LARGEST_BIAS = 2**30  # theory: leaves room for the products in the int32 sum
# theory: for channels of zeros; its product with an input scale is a normal float32
SMALLEST_SCALE = 2.0**-60


@dataclass(frozen=True)
class QuantizedWeight:
    """``values`` (int8) and ``scale`` (float32, one for each channel of ``axis``, or one for all)."""

    values: Array
    scale: Array
    axis: int | None

    @property
    def real(self) -> Array:
        """The weights as the layer sees them, float32."""
        return self.values * _along(self.scale, self.axis, self.values.ndim)


def quantize_weight(
    weight: Array, axis: int | None, limit: int, least: Array | float = 0.0
) -> QuantizedWeight:
    """Store a weight in int8, nearest values, ``axis`` being its output channels (None: one scale for all).

    ``least`` bounds the scales from below, by channel (see ``least_scale``).
    """
    size = np.abs(weight.astype(np.float64))
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = size.max(initial=0.0) if axis is None else size.max(axis=others, initial=0.0)
    if axis is None:
        least = np.max(least, initial=0.0)
    scale = np.asarray(np.maximum(np.maximum(largest / limit, least), SMALLEST_SCALE), np.float32)
    steps = np.rint(weight / _along(scale.astype(np.float64), axis, weight.ndim))
    return QuantizedWeight(np.clip(steps, -limit, limit).astype(np.int8), scale, axis)


def least_scale(bias: Array, input_scale: float) -> Array:
    """The smallest weight scale of each channel with which its bias still fits; float64 like ``bias``."""
    return np.abs(bias.astype(np.float64)) / (input_scale * LARGEST_BIAS)


def quantize_bias(bias: Array, input_scale: float, weight_scale: Array) -> tuple[Array, Array]:
    """Store a bias (channels,) in int32; return it with its scales, float32 (channels,)."""
    scale = np.float32(input_scale) * np.broadcast_to(weight_scale, bias.shape)
    return np.rint(bias / scale.astype(np.float64)).astype(np.int32), scale.astype(np.float32)


def _along(scale: Array, axis: int | None, ndim: int) -> Array:
    """Shape scales so that they multiply the weight channel by channel."""
    if axis is None:
        return scale
    return scale.reshape([-1 if i == axis else 1 for i in range(ndim)])
