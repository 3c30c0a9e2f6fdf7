"""Weights in int8, biases in int32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.quant.insertion.weights import LARGEST_BIAS, least_scale, quantize_bias, quantize_weight


def weights(seed: int, shape: tuple[int, ...] = (6, 4, 3, 3)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-4, 2, (shape[0], *(1,) * (len(shape) - 1)))
    return (rng.standard_normal(shape) * spread).astype(np.float32)


@given(st.integers(0, 10_000), st.sampled_from([None, 0, 1]), st.sampled_from([127, 63]))
def test_each_weight_is_within_half_a_step(seed: int, axis: int | None, limit: int) -> None:
    w = weights(seed)
    q = quantize_weight(w, axis, limit)
    assert q.values.dtype == np.int8
    assert q.scale.dtype == np.float32
    assert q.scale.shape == (() if axis is None else (w.shape[axis],))
    assert np.abs(q.values.astype(int)).max() == limit
    step = q.scale if axis is None else q.scale.reshape([-1 if i == axis else 1 for i in range(4)])
    assert np.all(np.abs(q.real - w) <= step * 0.50001)


def test_channels_of_zeros_stay_zero_with_a_usable_scale() -> None:
    w = weights(0)
    w[2] = 0
    q = quantize_weight(w, 0, 127)
    assert not q.values[2].any()
    assert np.isfinite(q.scale).all()
    assert (q.scale > 0).all()


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("size", [1e-10, 1e-30, 0.0])
def test_a_bias_over_tiny_weights_fits_and_survives(axis: int | None, size: float) -> None:
    w = weights(1)
    w[3] *= size
    bias = np.array([0.0, 1.0, -2.0, 5.0, 1e-3, -1e4], np.float32)
    input_scale = 0.02
    q = quantize_weight(w, axis, 127, least_scale(bias, input_scale))
    values, scale = quantize_bias(bias, input_scale, q.scale)
    assert values.dtype == np.int32
    assert np.abs(values.astype(np.int64)).max() <= LARGEST_BIAS * 1.0001
    assert np.all(np.abs(values * scale.astype(np.float64) - bias) <= 0.5001 * scale + 1e-6 * np.abs(bias))


def test_the_scale_of_a_bias_is_the_product_of_the_scales_in_float32() -> None:
    q = quantize_weight(weights(2), 0, 127)
    _, scale = quantize_bias(np.ones(6, np.float32), 0.1, q.scale)
    assert np.array_equal(scale, np.float32(0.1) * q.scale)
