"""Scale and zero point: zero is exact, the range is covered, bounds hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphopt.passes.quant.calibration.parameters import Bounds, activation_parameters

numbers = st.floats(-1e6, 1e6, width=32)


def stored(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """QuantizeLinear and DequantizeLinear, written out: round half to even, saturate."""
    q = np.clip(np.rint(x / np.float32(scale)) + zero_point, 0, 255)
    return ((q - zero_point) * np.float32(scale)).astype(np.float32)


@given(numbers, numbers)
@example(0.0, 0.0)
@example(-1.0, 0.0)
@example(3.0, 5.0)
@example(-1e-30, 1e-30)
def test_zero_is_exact_and_the_range_is_covered(a: float, b: float) -> None:
    low, high = sorted((a, b))
    p = activation_parameters(low, high)
    assert p.scale == np.float32(p.scale) > 0
    assert 0 <= p.zero_point <= 255
    assert stored(np.zeros(1, np.float32), p.scale, p.zero_point)[0] == 0
    half = p.scale * 0.5001
    assert p.low <= min(low, 0) + half
    assert p.high >= max(high, 0) - half


@given(numbers, numbers)
def test_values_inside_the_range_move_by_at_most_half_a_step(a: float, b: float) -> None:
    low, high = sorted((a, b))
    p = activation_parameters(low, high)
    x = np.linspace(max(low, p.low), min(high, p.high), 50).astype(np.float32) if low < high else np.zeros(1)
    x = x[(x >= p.low) & (x <= p.high)]
    assert np.all(np.abs(stored(x, p.scale, p.zero_point) - x) <= p.scale * 0.50001)


@given(
    numbers,
    numbers,
    st.floats(2.0**-10, 2.0**10, width=32),
    st.one_of(st.just(0.0), st.floats(2.0**-10, 2.0**10, width=32)),
)
@example(0.0, 7.0, 6.0, 0.0)
@example(-1.0, 1.0, 1.0, 1.0)
def test_what_can_be_stored_stays_within_bounds(a: float, b: float, above: float, below: float) -> None:
    low, high = sorted((a, b))
    p = activation_parameters(low, high, Bounds(-below, above))
    assert -below <= p.low <= 0 <= p.high <= above


def test_a_relu6_that_is_reached_uses_all_integers() -> None:
    p = activation_parameters(0.0, 6.0, Bounds(0.0, 6.0))
    assert p.zero_point == 0
    assert p.high <= np.float32(6.0)
    assert p.high == pytest.approx(6.0, rel=1e-6)


def test_a_relu_keeps_the_zero_point_at_zero() -> None:
    assert activation_parameters(-3.0, 5.0, Bounds(low=0.0)).zero_point == 0


def test_nothing_but_zeros_is_stored_as_the_unit_range() -> None:
    p = activation_parameters(0.0, 0.0)
    assert (p.low, p.high) == (0.0, pytest.approx(1.0))
    assert math.isfinite(p.scale)
