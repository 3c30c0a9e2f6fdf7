"""Damped least squares from sums of products, for many small problems at once.

Every problem is ``min_W |X W - T|^2 + sum_i l_i |W_i - W0_i|^2`` with ``G = X^T X`` and ``B = X^T T``, so
``W = (G + L)^-1 (B + L W0)``.  Arrays have a leading axis of problems, the groups of a convolution.
"""

from __future__ import annotations

import numpy as np

RELATIVE = 1e-3  # measured (constants): of the mean diagonal
RELATIVE_BIAS = 1e-9  # noise: a bias is practically free
# theory: rows for each unknown; fitted to r times as many, least squares errs by 1 / r more than at best
ENOUGH = 10


def damping(
    gram: np.ndarray, relative: float = RELATIVE, *, bias: bool = False, rows: float = np.inf
) -> np.ndarray:
    """Return how strongly each unknown is held, (groups, n), always positive.

    ``relative`` is in units of the mean diagonal of ``gram`` (groups, n, n).  With ``bias`` the last unknown
    multiplies a constant and is held by next to nothing.  Inputs that are always zero keep their weights.
    ``rows`` is how many rows ``gram`` sums up: the fewer for each unknown, the more an input is held, in
    units of its own variance, because with too few rows every target can be met and means nothing.
    """
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    inputs = diagonal[:, :-1] if bias else diagonal
    level = relative * inputs.mean(axis=1, keepdims=True) if inputs.size else np.ones((len(gram), 1))
    floor = np.finfo(np.float64).tiny ** 0.5
    held = np.repeat(np.where(level > floor, level, 1.0), diagonal.shape[1], axis=1)
    held += _doubt(inputs.shape[1], rows) * _spread(gram, bias)
    if bias:
        held[:, -1] = np.maximum(RELATIVE_BIAS * diagonal[:, -1], floor)
    return held


def shrunk(gram: np.ndarray, rows: float, *, bias: bool = False) -> np.ndarray:
    """Return ``gram`` with the covariances of inputs drawn towards zero, the more the fewer ``rows`` it has.

    Variances and means stay: without enough rows nothing is known of what inputs have in common.
    """
    spread = _spread(gram, bias)
    much = _doubt(gram.shape[1] - bias, rows)
    mean = gram[:, :, -1:] @ gram[:, -1:, :] / gram[:, -1:, -1:] if bias else 0.0 * gram
    covariance: np.ndarray = gram - mean + much * spread[:, :, None] * np.eye(gram.shape[1])
    return mean + covariance / (1.0 + much)


def _doubt(unknowns: int, rows: float) -> float:
    """How little so many rows tell about so many unknowns; nothing to doubt from ten rows for each."""
    return max(unknowns / rows - 1.0 / ENOUGH, 0.0)


def _spread(gram: np.ndarray, bias: bool) -> np.ndarray:
    """The diagonal of a Gram matrix, about the mean when its last row tells the mean; (groups, n)."""
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    if not bias:
        return diagonal
    return np.maximum(diagonal - np.square(gram[:, -1]) / np.maximum(gram[:, -1, -1:], 1e-300), 0.0)


def fit(gram: np.ndarray, cross: np.ndarray, current: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the weights (groups, n, outputs) that come closest to the targets, pulled towards ``current``.

    ``cross`` is (groups, n, outputs); ``held`` comes from ``damping``.
    """
    return Fit(gram, held)(cross, current)


class Fit:
    """Damped least squares for several targets in turn: what they share is computed once.

    ``gram`` is (groups, n, n); ``held`` comes from ``damping``.
    """

    def __init__(self, gram: np.ndarray, held: np.ndarray) -> None:
        self._gram = gram
        damped = gram + held[:, :, None] * np.eye(gram.shape[1])
        size = np.sqrt(
            np.diagonal(damped, axis1=1, axis2=2)
        )  # inputs in units of their own size: no digits lost
        both = size[:, :, None] * size[:, None, :]
        self._inverse = np.linalg.inv(damped / both) / both

    def __call__(self, cross: np.ndarray, current: np.ndarray) -> np.ndarray:
        """Return the weights (groups, n, outputs) nearest to the targets, pulled towards ``current``."""
        # W = W0 + (G + L)^-1 (B - G W0): what already fits stays exactly as it is
        step: np.ndarray = self._inverse @ (cross - self._gram @ current)
        return current + step


def squared_error(gram: np.ndarray, cross: np.ndarray, energy: np.ndarray, weights: np.ndarray) -> float:
    """Return ``|X W - T|^2`` over all problems; ``energy`` is the sum of squared targets."""
    quadratic = np.einsum("gnm,gnm->", weights, gram @ weights)
    return max(float(quadratic - 2.0 * np.einsum("gnm,gnm->", weights, cross) + energy.sum()), 0.0)
