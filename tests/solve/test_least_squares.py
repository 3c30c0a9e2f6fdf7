"""Fitting from sums of products equals numpy's least squares, and leaving out costs what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.solve import Elimination, damping, fit, removal_curve, shrunk, squared_error
from graphopt.solve.elimination import ALIKE


def drawn(
    seed: int, rows: int = 200, inputs: int = 12, outputs: int = 5, groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Correlated inputs (groups, rows, inputs) and targets they explain in part."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((groups, rows, inputs)) @ rng.standard_normal((groups, inputs, inputs))
    return x, x @ rng.standard_normal((groups, inputs, outputs)) + rng.standard_normal(
        (groups, rows, outputs)
    )


def sums(x: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    turned = x.transpose(0, 2, 1)
    return turned @ x, turned @ t, (t**2).sum(axis=1)


def best_error(x: np.ndarray, t: np.ndarray, held: np.ndarray, start: np.ndarray) -> float:
    """The damped error of numpy's solution of the stacked problem: rows for data, rows for damping."""
    stacked = np.concatenate([x, np.diag(np.sqrt(held))])
    wanted = np.concatenate([t, np.sqrt(held)[:, None] * start])
    solution = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    return float(((stacked @ solution - wanted) ** 2).sum())


@given(st.integers(0, 1000), st.sampled_from([1e-6, 1e-3, 1e-1]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_fit_is_the_stacked_least_squares(seed: int, relative: float, bias: bool) -> None:
    x, t = drawn(seed, groups=3)
    if bias:
        x[:, :, -1] = 1.0
    current = np.random.default_rng(seed).standard_normal((3, 12, 5))
    gram, cross, _ = sums(x, t)
    held = damping(gram, relative, bias=bias)
    fitted = fit(gram, cross, current, held)
    for group in range(3):
        stacked = np.concatenate([x[group], np.diag(np.sqrt(held[group]))])
        wanted = np.concatenate([t[group], np.sqrt(held[group])[:, None] * current[group]])
        expected = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
        np.testing.assert_allclose(fitted[group], expected, rtol=1e-5, atol=1e-6)


def test_error_from_sums_is_the_error() -> None:
    x, t = drawn(1, groups=2)
    weights = np.random.default_rng(0).standard_normal((2, 12, 5))
    assert squared_error(*sums(x, t), weights) == pytest.approx(float(((x @ weights - t) ** 2).sum()))


def test_dead_inputs_keep_their_weights() -> None:
    x, t = drawn(2)
    x[:, :, [3, 7]] = 0.0
    current = np.ones((1, 12, 5))
    gram, cross, _ = sums(x, t)
    fitted = fit(gram, cross, current, damping(gram))
    np.testing.assert_array_equal(fitted[0, [3, 7]], 1.0)
    silent = np.zeros((1, 4, 4))
    np.testing.assert_array_equal(fit(silent, np.zeros((1, 4, 2)), np.ones((1, 4, 2)), damping(silent)), 1.0)


def test_what_fits_already_is_left_alone_bit_by_bit() -> None:
    x, _ = drawn(3)
    current = np.random.default_rng(1).standard_normal((1, 12, 5))
    gram = sums(x, x @ current)[0]
    np.testing.assert_array_equal(fit(gram, gram @ current, current, damping(gram)), current)


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_each_removal_costs_the_rise_of_the_least_error(seed: int, size: int) -> None:
    """Against numpy, for a solution damped towards zero, in sequence: the downdates stay exact."""
    x, t = drawn(seed)
    gram, cross, _ = sums(x, t)
    held = damping(gram)
    zero = np.zeros((1, 12, 5))
    elimination = Elimination(gram, fit(gram, cross, zero, held))
    left = np.arange(12)
    before = best_error(x[0], t[0], held[0], zero[0])
    for block in np.random.default_rng(seed).permutation(12)[: 12 // size * size].reshape(-1, size):
        predicted = float(elimination.costs(block[None])[0])
        assert elimination.remove(block) == pytest.approx(predicted, rel=1e-6, abs=1e-9)
        left = np.setdiff1d(left, block)
        after = best_error(x[0][:, left], t[0], held[0, left], zero[0, left])
        assert after - before == pytest.approx(predicted, rel=1e-5, abs=1e-6)
        before = after


def test_the_remaining_weights_are_the_best_ones() -> None:
    x, t = drawn(5)
    gram, cross, _ = sums(x, t)
    held = damping(gram)
    elimination = Elimination(gram, fit(gram, cross, np.zeros((1, 12, 5)), held))
    elimination.remove(np.array([1, 4, 8]))
    left = np.setdiff1d(np.arange(12), [1, 4, 8])
    part = np.ix_(left, left)
    again = np.linalg.solve(gram[0][part] + np.diag(held[0, left]), cross[0, left])
    np.testing.assert_allclose(elimination.weights[0, left], again, rtol=1e-8, atol=1e-10)
    assert not elimination.weights[0, [1, 4, 8]].any()


def test_curve_takes_the_cheapest_first_and_ends_with_everything_gone() -> None:
    x, t = drawn(6, inputs=12)
    x[0, :, 4:6] *= 1e-4  # channel 2 of blocks of two says nothing
    x[0, :, 8:10] = x[0, :, 0:2]  # channels 0 and 4 say the same: one of them is nearly free
    gram, cross, _ = sums(x, t)
    weights = fit(gram, cross, np.zeros((1, 12, 5)), damping(gram))
    blocks = np.arange(12).reshape(6, 2)
    order, curve = removal_curve([(Elimination(gram, weights), [(0, blocks)], 1.0)], 6)
    assert order[0] == 2 and order[1] in (0, 4) and sorted(order) == list(range(6))
    assert curve[0] == 0 and np.all(np.diff(curve) >= 0) and curve[2] < 0.01 * curve[-1]
    total = np.einsum("gnm,gnm->", weights, cross)  # what the solution explains is lost in the end
    assert curve[-1] == pytest.approx(total, rel=1e-6)


def test_what_several_readers_miss_weighs_more_than_the_sum() -> None:
    x, t = drawn(7)
    gram, cross, _ = sums(x, t)
    weights = fit(gram, cross, np.zeros((1, 12, 5)), damping(gram))
    blocks = np.arange(12).reshape(12, 1)
    one = removal_curve([(Elimination(gram, weights), [(0, blocks)], 1.0)], 12)
    two = removal_curve([(Elimination(gram, weights), [(0, blocks)], s) for s in (1.0, 4.0)], 12)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_allclose(two[1], one[1] * (1 + 4**ALIKE) ** (1 / ALIKE), rtol=1e-9)
    assert 5.0 < (1 + 4**ALIKE) ** (1 / ALIKE) < 9.0


def test_what_readers_side_by_side_miss_just_adds_up() -> None:
    x, t = drawn(7)
    gram, cross, _ = sums(x, t)
    weights = fit(gram, cross, np.zeros((1, 12, 5)), damping(gram))
    blocks = np.arange(12).reshape(12, 1)
    whole = removal_curve([(Elimination(gram, weights), [(0, blocks)], 1.0)], 12)
    parts = [weights[..., :2], weights[..., 2:]]
    readers = [(Elimination(gram, part), [(0, blocks)], 1.0) for part in parts]
    split = removal_curve(readers, 12, goes_into=["concat", "concat"])
    np.testing.assert_array_equal(whole[0], split[0])
    np.testing.assert_allclose(whole[1], split[1], rtol=1e-9)


def test_too_few_rows_hold_the_weights() -> None:
    """Eight rows for twelve unknowns meet any target; what they say must not win over the weights."""
    x, t = drawn(8, rows=8)
    current = np.random.default_rng(0).standard_normal((1, 12, 5))
    gram, cross, _ = sums(x, t)
    free = fit(gram, cross, current, damping(gram))
    held = fit(gram, cross, current, damping(gram, rows=8))
    assert np.abs(held - current).sum() < 0.7 * np.abs(free - current).sum()
    np.testing.assert_array_equal(damping(gram, rows=120), damping(gram))


@pytest.mark.parametrize("bias", [False, True])
def test_too_few_rows_tell_variances_and_nothing_in_common(bias: bool) -> None:
    x, _ = drawn(9, rows=8)
    if bias:
        x += 3.0
        x[:, :, -1] = 1.0
    gram = sums(x, x)[0]
    few, many = shrunk(gram, 1e-9, bias=bias), shrunk(gram, 1e15, bias=bias)
    np.testing.assert_allclose(many, gram, rtol=1e-9, atol=1e-9 * gram.max())
    np.testing.assert_allclose(np.diagonal(few[0]), np.diagonal(gram[0]), rtol=1e-9)
    mean = x[0].mean(axis=0) if bias else np.zeros(12)
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(few[0][off], (8 * np.outer(mean, mean))[off], atol=1e-6 * gram.max())
