"""CP by alternating least squares, against tensorly's."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.lowrank.solve.polyadic import canonical, khatri_rao


def error(tensor: np.ndarray, factors: tuple[np.ndarray, ...]) -> float:
    left = tensor - np.einsum("ir,jr,kr->ijk", *factors)
    return float(np.square(left).sum() / np.square(tensor).sum())


def tensor_of(rank: int, noise: float, shape: tuple[int, ...] = (12, 9, 16), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    exact = np.einsum("ir,jr,kr->ijk", *(rng.standard_normal((size, rank)) for size in shape))
    return exact + noise * rng.standard_normal(shape) * exact.std()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [3, 8])
def test_it_is_as_close_as_tensorly(seed: int, rank: int) -> None:
    tensorly = pytest.importorskip("tensorly")
    decomposition = pytest.importorskip("tensorly.decomposition")
    tensor = tensor_of(10, 0.3, seed=seed)
    found = error(tensor, canonical(tensor, rank))
    theirs = decomposition.parafac(
        tensorly.tensor(tensor), rank, n_iter_max=200, init="svd", tol=1e-8, random_state=seed
    )
    scale = theirs.weights ** (1 / 3)
    assert found <= 1.02 * error(tensor, tuple(np.asarray(factor) * scale for factor in theirs.factors))


def test_what_has_that_rank_is_found() -> None:
    tensor = tensor_of(4, 0.0)
    assert error(tensor, canonical(tensor, 4)) < 1e-6


@pytest.mark.parametrize("shape", [(3, 4, 5), (5, 4, 3), (4, 9, 2), (1, 9, 6)])
def test_from_full_rank_on_it_is_exact(shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(1).standard_normal(shape)
    full = int(np.prod(sorted(shape)[:2]))
    for rank in (full, full + 3):
        factors = canonical(tensor, rank)
        assert [factor.shape for factor in factors] == [(size, rank) for size in shape]
        assert error(tensor, factors) < 1e-28


def test_more_rank_is_less_error_and_zero_stays_zero() -> None:
    tensor = tensor_of(12, 0.5)
    errors = [error(tensor, canonical(tensor, rank)) for rank in (1, 3, 6, 12, 24)]
    assert errors == sorted(errors, reverse=True)
    assert not any(np.any(np.abs(f) > 1e-6) for f in canonical(np.zeros((3, 4, 5)), 2)[2:])


def test_khatri_rao_is_all_products_of_rows() -> None:
    one, two = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(khatri_rao(one, two)[5], one[1] * two[1])
