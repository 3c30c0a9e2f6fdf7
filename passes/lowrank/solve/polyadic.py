"""The canonical polyadic (CP) decomposition of a tensor of three axes by alternating least squares.

``T[i, j, k] ~ sum_r A[i, r] B[j, r] C[k, r]``.  Each factor in turn is the least-squares answer to the other
two (R. Harshman, 1970), drawn slightly to what it was, which keeps two components from growing without
bound against each other (the proximal variant of C. Navasca et al., 2008).
"""

from __future__ import annotations

import numpy as np

SWEEPS = 200  # time: of alternating least squares
ENOUGH = 1e-7  # time: change of the relative error in a sweep below which no more is to be had
# noise: how strongly a factor is held to what it was, in units of its normal matrix: the root of float64's
# rounding, beyond which the sums of products tell nothing
HOLD = 1e-8


def canonical(tensor: np.ndarray, rank: int, *, sweeps: int = SWEEPS) -> tuple[np.ndarray, ...]:
    """Return three factors (size of the axis, rank) of ``tensor``, float64.

    From rank min(i*j, j*k, i*k) on the decomposition is exact, and written down directly.
    """
    tensor = np.asarray(tensor, np.float64)
    exact = _exact(tensor, rank)
    if exact is not None:
        return exact
    unfolded = [np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1) for axis in range(3)]
    factors = [_start(matrix, rank) for matrix in unfolded]
    energy, error = float(np.square(tensor).sum()), np.inf
    for _ in range(sweeps):
        for axis in range(3):
            one, two = (factors[other] for other in range(3) if other != axis)
            normal = (one.T @ one) * (two.T @ two)
            hold = HOLD * max(float(np.trace(normal)) / rank, np.finfo(np.float64).tiny) * np.eye(rank)
            right = unfolded[axis] @ khatri_rao(one, two) + factors[axis] @ hold
            factors[axis] = np.linalg.solve(normal + hold, right.T).T
        _balance(factors)
        before, error = error, _error(unfolded[2], factors, energy)
        if before - error < ENOUGH * max(energy, np.finfo(np.float64).tiny):
            break
    return tuple(factors)


def khatri_rao(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the products of all pairs of rows, (rows of one x rows of two, rank)."""
    return np.einsum("ir,jr->ijr", one, two).reshape(-1, one.shape[1])


def _start(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The leading singular vectors, filled up with seeded noise where there are not enough."""
    vectors = np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
    more = np.random.default_rng(0).standard_normal((len(matrix), rank - vectors.shape[1]))
    return np.concatenate([vectors, more / max(len(matrix), 1) ** 0.5], axis=1)


def _balance(factors: list[np.ndarray]) -> None:
    """Give the three vectors of each component the same norm."""
    norms = [np.maximum(np.linalg.norm(factor, axis=0), np.finfo(np.float64).tiny) for factor in factors]
    common = np.cbrt(norms[0] * norms[1] * norms[2])
    for factor, norm in zip(factors, norms, strict=True):
        factor *= common / norm


def _error(unfolded: np.ndarray, factors: list[np.ndarray], energy: float) -> float:
    one, two, three = factors
    explained = float(np.sum((unfolded @ khatri_rao(one, two)) * three))
    squares = float(np.sum((one.T @ one) * (two.T @ two) * (three.T @ three)))
    return max(energy - 2.0 * explained + squares, 0.0)


def _exact(tensor: np.ndarray, rank: int) -> tuple[np.ndarray, ...] | None:
    """The decomposition with one component for each pair of entries of the two smaller axes."""
    least = int(np.prod(sorted(tensor.shape)[:2]))
    if rank < least:
        return None
    longest = int(np.argmax(tensor.shape))
    sizes = [size for axis, size in enumerate(tensor.shape) if axis != longest]
    factors = [np.repeat(np.eye(sizes[0]), sizes[1], axis=1), np.tile(np.eye(sizes[1]), sizes[0])]
    factors.insert(longest, np.moveaxis(tensor, longest, 0).reshape(tensor.shape[longest], -1))
    return tuple(np.pad(factor, ((0, 0), (0, rank - least))) for factor in factors)
