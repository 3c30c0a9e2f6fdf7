"""White coordinates: what is dropped there is what the output loses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.passes.lowrank.solve.splitting import Splitting
from graphopt.passes.lowrank.solve.whitening import (
    Inputs,
    Responses,
    lower_factor,
    response_svd,
    solve_lower,
    solve_upper,
    whitened_svd,
)


def rows_of(count: int, width: int, groups: int = 1, seed: int = 0) -> np.ndarray:
    """Correlated rows with a mean, (groups, count, width)."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((groups, width, width)) * np.geomspace(1, 0.05, width)[:, None]
    return rng.standard_normal((groups, count, width)) @ mix + rng.standard_normal((groups, 1, width))


def gram_of(rows: np.ndarray, bias: bool = True) -> np.ndarray:
    if bias:
        rows = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], axis=2)
    return rows.transpose(0, 2, 1) @ rows


def test_inputs_are_mean_and_covariance() -> None:
    rows = rows_of(4000, 300, 2)
    found = Inputs.of(gram_of(rows), 4000, bias=True)
    np.testing.assert_allclose(found.mean, rows.mean(axis=1), rtol=1e-9, atol=1e-12)
    for group in range(2):
        np.testing.assert_allclose(found.covariance[group], np.cov(rows[group].T, bias=True), atol=1e-9)
    about_zero = Inputs.of(gram_of(rows, False), 4000, bias=False)
    np.testing.assert_allclose(about_zero.covariance, gram_of(rows, False) / 4000)
    assert not about_zero.mean.any()


def test_few_rows_make_covariances_doubtful_but_not_variances() -> None:
    rows = rows_of(20, 40)
    found = Inputs.of(gram_of(rows), 20, bias=True).covariance[0]
    plain = np.cov(rows[0].T, bias=True)
    np.testing.assert_allclose(np.diag(found), np.diag(plain))
    off = ~np.eye(40, dtype=bool)
    np.testing.assert_allclose(found[off], plain[off] / (1 + 40 / 20 - 0.1))


@pytest.mark.parametrize("size", [1, 7, 256, 300, 700])
def test_triangular_solves(size: int) -> None:
    covariance = Inputs.of(gram_of(rows_of(3 * size, size, 2)), 3 * size, bias=True).covariance
    lower = lower_factor(covariance, 1e-3)
    right = np.random.default_rng(1).standard_normal((2, size, 3))
    np.testing.assert_allclose(lower @ solve_lower(lower, right), right, atol=1e-8)
    np.testing.assert_allclose(lower.transpose(0, 2, 1) @ solve_upper(lower, right), right, atol=1e-8)


def test_a_factor_of_what_is_not_quite_positive() -> None:
    """Rounding, dead inputs and constants leave covariances singular."""
    rank_one = np.ones((1, 5, 5))
    rank_one[0, 0, 0] -= 1e-9
    for covariance in (rank_one, np.zeros((1, 5, 5))):
        given = covariance.copy()
        lower = lower_factor(covariance)
        np.testing.assert_array_equal(covariance, given)
        np.testing.assert_allclose(lower @ lower.transpose(0, 2, 1), covariance, atol=1e-6)


@given(st.integers(2, 30), st.integers(1, 20), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=30)
def test_the_error_is_the_dropped_singular_energy(width: int, outputs: int, groups: int, seed: int) -> None:
    rows = rows_of(40 * width, width, groups, seed)
    weights = np.random.default_rng(seed).standard_normal((groups, width, outputs))
    inputs = Inputs.of(gram_of(rows), rows.shape[1], bias=True)
    first, values, second = whitened_svd(lower_factor(inputs.covariance), weights)
    splitting = Splitting.of(inputs, weights, width, np.arange(width))
    for rank in range(values.shape[1]):
        product = (first * values[:, None])[:, :, :rank] @ second[:, :rank]
        change = (rows - rows.mean(axis=1, keepdims=True)) @ (weights - product)
        measured = np.square(change).sum() / rows.shape[1]
        dropped = np.square(values[:, rank:]).sum()
        assert measured == pytest.approx(dropped, rel=1e-3, abs=1e-9 * np.square(values).sum())
        assert splitting.errors()[rank] == pytest.approx(dropped, rel=1e-6)


def test_no_other_factors_of_that_rank_are_better() -> None:
    rows = rows_of(600, 12)
    weights = np.random.default_rng(3).standard_normal((1, 12, 9))
    inputs = Inputs.of(gram_of(rows), 600, bias=True)
    best = Splitting.of(inputs, weights, 12, np.arange(12)).errors()[4]
    centred = rows[0] - rows[0].mean(axis=0)
    for seed in range(5):  # alternating least squares from anywhere ends above
        left = np.random.default_rng(seed).standard_normal((12, 4))
        for _ in range(200):
            right = np.linalg.lstsq(centred @ left, centred @ weights[0], rcond=None)[0]
            left = weights[0] @ np.linalg.pinv(right)
        error = np.square(centred @ (weights[0] - left @ right)).sum() / 600
        assert error >= best * (1 - 1e-6)


@pytest.mark.parametrize(("inner", "axes"), [((0,), (4, 3, 3)), ((0, 1), (4, 3, 3)), ((0, 2), (4, 3, 2))])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_second_layer_is_the_best_for_the_first(
    inner: tuple[int, ...], axes: tuple[int, ...], groups: int
) -> None:
    """Errors of every rank against numpy's own least squares on the rows."""
    width = int(np.prod(axes))
    rows = rows_of(20 * width, width, groups)
    weights = np.random.default_rng(4).standard_normal((groups, width, 5))
    order = (
        np.arange(width)
        .reshape(axes)
        .transpose(*inner, *(axis for axis in range(3) if axis not in inner))
        .ravel()
    )
    inside = int(np.prod([axes[axis] for axis in inner]))
    splitting = Splitting.of(Inputs.of(gram_of(rows), rows.shape[1], bias=True), weights, inside, order)
    for rank in range(1, splitting.full):
        first, second = splitting.factors(rank)
        measured, least = 0.0, 0.0
        for group in range(groups):
            centred = (rows[group] - rows[group].mean(axis=0))[:, order]
            shaped = centred.reshape(len(centred), inside, -1)
            features = np.einsum("pao,af->pfo", shaped, first[group]).reshape(len(centred), -1)
            wanted = centred @ weights[group][order]
            got = features @ second[group].reshape(features.shape[1], -1)
            best = features @ np.linalg.lstsq(features, wanted, rcond=None)[0]
            measured += np.square(wanted - got).sum() / len(centred)
            least += np.square(wanted - best).sum() / len(centred)
        assert measured == pytest.approx(splitting.errors()[rank], rel=1e-3)
        assert measured <= least * (1 + 1e-4) + 1e-9


def test_a_limit_changes_no_rank_below_it() -> None:
    rows = rows_of(900, 36)
    weights = np.random.default_rng(4).standard_normal((1, 36, 8))
    order = np.arange(36).reshape(4, 3, 3).transpose(0, 2, 1).ravel()
    inputs = Inputs.of(gram_of(rows), 900, bias=True)
    whole = Splitting.of(inputs, weights, 12, order)
    cut = Splitting.of(inputs, weights, 12, order, 5)
    np.testing.assert_allclose(cut.errors(), whole.errors()[:6])
    for one, other in zip(cut.factors(4), whole.factors(4), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_third_layer_is_the_best_for_the_first() -> None:
    rows = rows_of(900, 36)
    weights = np.random.default_rng(4).standard_normal((1, 36, 8))
    inputs = Inputs.of(gram_of(rows), 900, bias=True)
    splitting = Splitting.of(inputs, weights, 4, np.arange(36))
    reduction = splitting.reduced(3)
    assert reduction.errors()[8] == pytest.approx(splitting.errors()[3])
    for outputs in range(1, 8):
        first, core, last = reduction.factors(outputs)
        product = first[0] @ (core[0].reshape(27, -1) @ last[0]).reshape(3, -1)
        lost = inputs.energy(weights - product.reshape(1, 36, 8))
        assert lost == pytest.approx(reduction.errors()[outputs], rel=1e-3)


def test_responses_say_the_same_as_inputs() -> None:
    rows = rows_of(900, 20)
    weights = np.random.default_rng(4).standard_normal((1, 20, 8))
    inputs = Inputs.of(gram_of(rows), 900, bias=True)
    responses = Responses(inputs.mean, weights.transpose(0, 2, 1) @ inputs.covariance @ weights)
    assert responses.energy(weights) == pytest.approx(inputs.energy(weights))
    by_inputs = Splitting.of(inputs, weights, 20, np.arange(20))
    by_responses = Splitting.of(responses, weights, 20, np.arange(20))
    np.testing.assert_allclose(by_responses.errors(), by_inputs.errors(), atol=1e-6)
    one, two = (np.matmul(a, b[:, :, 0]) for a, b in (by_inputs.factors(3), by_responses.factors(3)))
    np.testing.assert_allclose(one, two, atol=1e-4)
    with pytest.raises(ValueError, match="single positions"):
        Splitting.of(responses, weights, 4, np.arange(20))
    assert response_svd(np.zeros((1, 8, 8)), weights)[0].shape == (1, 20, 8)


def test_a_large_covariance_takes_little_more_than_itself() -> None:
    """An eighth of the largest one in each direction; what is proportional there is so here."""
    width = 1152
    square = 8 * width**2
    gram = np.eye(width + 1)[None] * 100.0
    weights = np.random.default_rng(0).standard_normal((1, width, 64))
    order = np.arange(width).reshape(128, 3, 3).transpose(0, 1, 2).ravel()
    tracemalloc.start()
    inputs = Inputs.of(gram, 100, bias=True)
    Splitting.of(inputs, weights, width, order)
    whole = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    Splitting.of(inputs, weights, 384, order, 95)
    split = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(whole, split) < 5.5 * square  # with the Gram matrix itself below 1 GB for 4608 inputs


def test_unknown_inputs_mean_plain_singular_values() -> None:
    weights = np.random.default_rng(4).standard_normal((2, 36, 8))
    order = np.arange(36).reshape(4, 3, 3).transpose(0, 2, 1).ravel()
    unknown = Inputs.unknown(2, 36)
    white = Inputs(unknown.mean, np.array(unknown.covariance), False)
    blind, seeing = (Splitting.of(inputs, weights, 12, order) for inputs in (unknown, white))
    assert unknown.energy(weights) == pytest.approx(white.energy(weights))
    np.testing.assert_allclose(blind.errors(), seeing.errors(), atol=1e-6)
    products = [first @ second.reshape(2, 5, -1) for first, second in (blind.factors(5), seeing.factors(5))]
    np.testing.assert_allclose(*products, atol=1e-6)
    values = np.linalg.svd(weights[:, order].reshape(2, 12, -1), compute_uv=False)
    assert blind.errors()[5] == pytest.approx(np.square(values[:, 5:]).sum())
