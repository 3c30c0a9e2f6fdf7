"""Bases of heads against what is known of the best approximation of a rank."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.prune.attention.basis import score_bases, score_error, value_bases

HEADS, SIZE, TOKENS = 3, 8, 400


def rows(rng: np.random.Generator) -> np.ndarray:
    """Correlated rows of unequal variance, (heads, tokens, size)."""
    mixing = rng.standard_normal((HEADS, SIZE, SIZE)) * np.logspace(0, -1, SIZE)
    return rng.standard_normal((HEADS, TOKENS, SIZE)) @ mixing


def second(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.transpose(0, 2, 1) @ x / x.shape[1])


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    q, k = rows(rng) + 1.0, rows(rng)
    return q, k - k.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("rank", [1, 3, 5, 7])
def test_the_error_of_a_rank_is_as_predicted(scored: tuple[np.ndarray, np.ndarray], rank: int) -> None:
    q, k = scored
    first, other, sizes = score_bases(second(q), second(k))
    q, k = q @ first, k @ other
    missed = (q[..., :rank] @ k[..., :rank].transpose(0, 2, 1)) - q @ k.transpose(0, 2, 1)
    measured = np.square(missed).mean(axis=(1, 2)).sum()
    assert score_error(second(q), second(k), rank) == pytest.approx(measured, rel=1e-3)
    if rank < 7:  # what is left out is not what was held at the floor
        assert np.square(sizes[:, rank:]).sum() == pytest.approx(measured, rel=1e-3)


def test_no_other_choice_of_directions_errs_less(scored: tuple[np.ndarray, np.ndarray]) -> None:
    """Against the decomposition of all scores of the fitting rows, which no approximation of a rank beats."""
    q, k = scored
    _, _, sizes = score_bases(second(q), second(k))
    best = np.linalg.svd(q @ k.transpose(0, 2, 1), compute_uv=False)[:, :SIZE] / TOKENS
    np.testing.assert_allclose(sizes, best, rtol=1e-4, atol=1e-4 * best.max())


def test_all_channels_together_change_nothing(scored: tuple[np.ndarray, np.ndarray]) -> None:
    q, k = scored
    first, other, _ = score_bases(second(q), second(k))
    whole = q @ k.transpose(0, 2, 1)
    np.testing.assert_allclose(
        (q @ first) @ (k @ other).transpose(0, 2, 1), whole, atol=1e-9 * np.abs(whole).max()
    )


def test_any_basis_to_begin_with_comes_to_the_same_sizes(scored: tuple[np.ndarray, np.ndarray]) -> None:
    q, k = scored
    turn = np.eye(SIZE) + 0.3 * np.random.default_rng(1).standard_normal((HEADS, SIZE, SIZE))
    _, _, before = score_bases(second(q), second(k))
    _, _, after = score_bases(second(q @ turn), second(k @ np.linalg.inv(turn).transpose(0, 2, 1)))
    np.testing.assert_allclose(after[:, :5], before[:, :5], rtol=1e-3)


def test_planted_ranks_are_found(scored: tuple[np.ndarray, np.ndarray]) -> None:
    q, k = scored
    rng = np.random.default_rng(2)
    low = rng.standard_normal((HEADS, SIZE, 3)) @ rng.standard_normal((HEADS, 3, SIZE))
    first, other, sizes = score_bases(second(q @ low), second(k))
    kept = (q @ low @ first)[..., :3] @ (k @ other)[..., :3].transpose(0, 2, 1)
    whole = q @ low @ k.transpose(0, 2, 1)
    assert sizes[:, 3].max() < 2e-3 * sizes[:, 0].min()
    np.testing.assert_allclose(kept, whole, atol=1e-5 * np.abs(whole).max())


def test_values_lose_no_more_than_the_best_rank() -> None:
    """The error behind the layer is that of the truncated decomposition of what the heads come to."""
    rng = np.random.default_rng(3)
    z, weights = rows(rng), rng.standard_normal((HEADS, SIZE, 20))
    z -= z.mean(axis=1, keepdims=True)
    basis, inverse = value_bases(second(z), weights)
    np.testing.assert_allclose(basis @ inverse, np.broadcast_to(np.eye(SIZE), basis.shape), atol=1e-8)
    for rank in (2, 5):
        kept = (z @ basis)[..., :rank] @ (inverse @ weights)[:, :rank]
        missed = np.square(kept - z @ weights).sum(axis=(1, 2))
        best = np.square(np.linalg.svd(z @ weights, compute_uv=False)[:, rank:]).sum(axis=1)
        np.testing.assert_allclose(missed, best, rtol=1e-3)


def test_heads_that_never_say_anything_are_left_finite() -> None:
    zeros = np.zeros((1, SIZE, SIZE))
    assert all(np.isfinite(part).all() for part in score_bases(zeros, zeros))
    assert all(np.isfinite(part).all() for part in value_bases(zeros, np.zeros((1, SIZE, 4))))
