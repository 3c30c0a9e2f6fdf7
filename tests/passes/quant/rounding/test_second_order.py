"""Second-order rounding against every possible choice of integers, and never worse than the nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphopt.passes.quant.rounding.second_order import (
    descend,
    fitted_scale,
    nearest,
    rounding_error,
    searched_scale,
    second_order,
)


def problem(seed: int, groups: int, rows: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, a covariance of correlated inputs, and scales of few levels."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(groups, 40, rows)) @ rng.normal(size=(groups, rows, rows))
    covariance = inputs.transpose(0, 2, 1) @ inputs / 40
    weights = rng.normal(size=(groups, rows, outputs))
    return weights, covariance, np.abs(weights).max(axis=1) / 7


@pytest.mark.parametrize("seed", range(8))
def test_close_to_the_best_of_all_choices(seed: int) -> None:
    """Of all 2^6 ways to round down or up; the search gets within a factor of the best, nearest does not."""
    weights, covariance, scale = problem(seed, 1, 6, 1)
    down = np.floor(weights / scale[:, None, :])
    every = [down + np.array(bits, float).reshape(1, 6, 1) for bits in itertools.product((0, 1), repeat=6)]
    inside = [tried for tried in every if np.abs(tried).max() <= 7]
    best = min(rounding_error(weights, tried, scale, covariance).item() for tried in inside)
    found = rounding_error(weights, second_order(weights, scale, 7, covariance), scale, covariance).item()
    assert found <= 2.0 * best + 1e-12


@pytest.mark.parametrize("shape", [(1, 70, 5), (12, 9, 1), (3, 20, 4), (1, 1, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_nearest_and_usually_far_better(shape: tuple[int, int, int], seed: int) -> None:
    weights, covariance, scale = problem(seed, *shape)
    plain = rounding_error(weights, nearest(weights, scale, 7), scale, covariance)
    found = second_order(weights, scale, 7, covariance)
    error = rounding_error(weights, found, scale, covariance)
    assert (error <= plain + 1e-12).all()
    assert np.abs(found).max() <= 7
    assert np.array_equal(found, np.rint(found))
    if shape[1] > 8:
        assert error.sum() < 0.7 * plain.sum()


@pytest.mark.parametrize("seed", range(4))
def test_single_steps_only_ever_help(seed: int) -> None:
    weights, covariance, scale = problem(seed, 2, 15, 3)
    start = nearest(weights, scale, 7)
    before = rounding_error(weights, start, scale, covariance)
    after = rounding_error(weights, descend(weights, start, scale, 7, covariance), scale, covariance)
    assert (after <= before + 1e-12).all()


def test_inputs_that_never_vary_and_dead_channels_do_no_harm() -> None:
    weights, covariance, scale = problem(0, 1, 10, 3)
    covariance[:, 4:] = covariance[:, :, 4:] = 0.0
    weights[:, :, 1] = 1e-10
    found = second_order(weights, np.maximum(scale, 1e-9), 127, covariance)
    assert np.isfinite(found).all()
    assert np.isfinite(second_order(weights, scale, 7, np.zeros_like(covariance))).all()


def test_scales_are_searched_and_fitted() -> None:
    """A searched scale beats the largest weight's, a fitted one every other with the same integers."""
    weights, covariance, _ = problem(1, 1, 50, 4)
    weights[:, 0] *= 6
    largest = np.abs(weights).max(axis=1) / 7
    searched = searched_scale(weights, 7, covariance)
    plain = rounding_error(weights, nearest(weights, largest, 7), largest, covariance)
    assert (rounding_error(weights, nearest(weights, searched, 7), searched, covariance) <= plain).all()
    integers = nearest(weights, searched, 7)
    fitted = fitted_scale(weights, integers, covariance, searched)
    for other in (0.97 * fitted, 1.03 * fitted, searched):
        least = rounding_error(weights, integers, fitted, covariance)
        assert (least <= rounding_error(weights, integers, other, covariance) + 1e-12).all()
