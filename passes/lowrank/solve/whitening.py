"""White coordinates of a layer's inputs, in which dropping a direction costs exactly what it carries.

With the covariance ``C = L L^T`` of the input rows x, the output error of weights W + D is
``E|D^T x|^2 = |L^T D|^2``: the plain norm of ``L^T D``.  So the best approximation of low rank is the
truncated singular value decomposition of ``L^T W``, and its error is the sum of the squares of the dropped
singular values (BALF, 2025; the linear case of X. Zhang et al., 2015).  L is a Cholesky factor: for 4608
inputs it takes two seconds, an eigendecomposition over forty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.solve.least_squares import ENOUGH

# noise: of the mean variance, added to all: enough for a factor, too little to see in an error
RELATIVE = 1e-9
STRONGER = 100.0  # time: times the damping that was not enough; smaller steps would need more factorisations
BLOCK = 256  # time: rows of a triangular matrix solved at a time


@dataclass(frozen=True)
class Inputs:
    """Mean (groups, n) and covariance (groups, n, n) of the rows that a layer reads.

    Without ``centred`` the covariance is about zero: for a layer without a bias that makes up for a mean.
    Inputs that are not ``known`` are taken to be white already: their covariance is the identity.
    """

    mean: np.ndarray
    covariance: np.ndarray
    centred: bool = True
    known: bool = True

    @classmethod
    def of(cls, gram: np.ndarray, rows: int, *, bias: bool) -> Inputs:
        """Return what sums of products (groups, n, n) say; with ``bias`` their last row sums the inputs.

        Covariances are drawn towards zero where there are too few ``rows`` to tell; see ``shrunk``.
        """
        if not bias:
            return cls(np.zeros(gram.shape[:2]), _doubted(gram / rows, rows), False)
        mean = gram[:, -1, :-1] / rows
        covariance = gram[:, :-1, :-1] / rows
        for group, row in enumerate(mean):
            for start in range(0, len(row), BLOCK):  # one square of this size is enough to hold
                covariance[group, start : start + BLOCK] -= np.outer(row[start : start + BLOCK], row)
        return cls(mean, _doubted(covariance, rows))

    @classmethod
    def unknown(cls, groups: int, inputs: int) -> Inputs:
        """Return inputs that are all alike and have nothing in common: what is assumed without data."""
        eye = np.broadcast_to(np.eye(inputs), (groups, inputs, inputs))
        return cls(np.zeros((groups, inputs)), eye, False, known=False)

    def energy(self, weights: np.ndarray) -> float:
        """Return the variance of the outputs of ``weights`` (groups, n, outputs), summed over all outputs."""
        if not self.known:
            return float(np.square(weights).sum())
        return float(np.einsum("gnm,gnm->", weights, self.covariance @ weights))


@dataclass(frozen=True)
class Responses:
    """Mean (groups, n) of a layer's inputs, and covariance (groups, outputs, outputs) of what it computes.

    Stands in for ``Inputs`` where n x n numbers are too many: enough to split a layer after its kernel.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def energy(self, weights: np.ndarray) -> float:
        """Return the variance of the layer's outputs, summed over all outputs."""
        return float(np.einsum("gmm->", self.covariance))


def _doubted(covariance: np.ndarray, rows: int) -> np.ndarray:
    much = max(covariance.shape[1] / rows - 1.0 / ENOUGH, 0.0)
    if much:
        inside = np.arange(covariance.shape[1])
        variance = covariance[:, inside, inside].copy()
        covariance /= 1.0 + much
        covariance[:, inside, inside] = variance
    return covariance


def lower_factor(covariance: np.ndarray, relative: float = RELATIVE) -> np.ndarray:
    """Return L with ``L L^T`` = covariance, damped by ``relative`` of its mean diagonal; (groups, n, n).

    The damping is added in place and taken off again: a copy of 4608 x 4608 numbers would be 170 MB more.
    """
    inside = np.arange(covariance.shape[1])
    diagonal = covariance[:, inside, inside]
    mean = diagonal.mean(axis=1, keepdims=True)
    level = np.where(mean > 0, mean, 1.0)
    try:
        while True:
            covariance[:, inside, inside] = diagonal + relative * level
            try:
                return np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError:  # rounding left it less than positive
                if relative > 1:
                    raise
                relative *= STRONGER
    finally:
        covariance[:, inside, inside] = diagonal


def solve_lower(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return x with ``L x = right`` for lower triangular matrices (groups, n, n)."""
    solution = np.array(right, np.float64)
    for start in range(0, lower.shape[1], BLOCK):
        end = start + BLOCK
        solution[:, start:end] = np.linalg.solve(lower[:, start:end, start:end], solution[:, start:end])
        solution[:, end:] -= lower[:, end:, start:end] @ solution[:, start:end]
    return solution


def solve_upper(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return x with ``L^T x = right`` for lower triangular matrices (groups, n, n)."""
    solution = np.array(right, np.float64)
    turned = lower.transpose(0, 2, 1)
    for start in reversed(range(0, lower.shape[1], BLOCK)):
        end = start + BLOCK
        solution[:, start:end] = np.linalg.solve(turned[:, start:end, start:end], solution[:, start:end])
        solution[:, :start] -= turned[:, :start, start:end] @ solution[:, start:end]
    return solution


def whitened_svd(lower: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A (groups, n, k), s (groups, k), B (groups, k, outputs) with ``A diag(s) B`` = weights.

    ``A^T x`` has unit variance and B orthonormal rows, so leaving component i out costs ``s[i]**2``.
    """
    left, values, right = np.linalg.svd(lower.transpose(0, 2, 1) @ weights, full_matrices=False)
    return solve_upper(lower, left), values, right


def response_svd(covariance: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what ``whitened_svd`` does, from the covariance (groups, outputs, outputs) of the outputs."""
    energies, vectors = np.linalg.eigh(covariance)
    count = min(weights.shape[1:])
    values = np.sqrt(np.maximum(energies[:, ::-1][:, :count], 0.0))
    right = vectors[:, :, ::-1][:, :, :count]
    floor = np.maximum(values, 1e-9 * values[:, :1] + np.finfo(np.float64).tiny)
    return (weights @ right) / floor[:, None], floor, right.transpose(0, 2, 1)
