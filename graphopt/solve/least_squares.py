"""Damped least squares from sums of products, for many small problems at once.

Every problem is ``min_W |X W - T|^2 + sum_i l_i |W_i - W0_i|^2`` with ``G = X^T X`` and ``B = X^T T``, so
``W = (G + L)^-1 (B + L W0)``.  Arrays have a leading axis of problems, the groups of a convolution.
"""

from __future__ import annotations

import numpy as np

RELATIVE = 1e-3  # of the mean diagonal; results hardly change between 1e-5 and 1e-1
RELATIVE_BIAS = 1e-9  # a bias is practically free


def damping(gram: np.ndarray, relative: float = RELATIVE, *, bias: bool = False) -> np.ndarray:
    """Return how strongly each unknown is held, (groups, n), always positive.

    ``relative`` is in units of the mean diagonal of ``gram`` (groups, n, n).  With ``bias`` the last unknown
    multiplies a constant and is held by next to nothing.  Inputs that are always zero keep their weights.
    """
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    inputs = diagonal[:, :-1] if bias else diagonal
    level = relative * inputs.mean(axis=1, keepdims=True) if inputs.size else np.ones((len(gram), 1))
    floor = np.finfo(np.float64).tiny ** 0.5
    held = np.repeat(np.where(level > floor, level, 1.0), diagonal.shape[1], axis=1)
    if bias:
        held[:, -1] = np.maximum(RELATIVE_BIAS * diagonal[:, -1], floor)
    return held


def fit(gram: np.ndarray, cross: np.ndarray, current: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the weights (groups, n, outputs) that come closest to the targets, pulled towards ``current``.

    ``cross`` is (groups, n, outputs); ``held`` comes from ``damping``.
    """
    damped = gram + held[:, :, None] * np.eye(gram.shape[1])
    lower = np.linalg.cholesky(damped)
    # W = W0 + (G + L)^-1 (B - G W0): what already fits stays exactly as it is
    half = np.linalg.solve(lower, cross - gram @ current)
    step: np.ndarray = np.linalg.solve(lower.transpose(0, 2, 1), half)
    return current + step


def squared_error(gram: np.ndarray, cross: np.ndarray, energy: np.ndarray, weights: np.ndarray) -> float:
    """Return ``|X W - T|^2`` over all problems; ``energy`` is the sum of squared targets."""
    quadratic = np.einsum("gnm,gnm->", weights, gram @ weights)
    return max(float(quadratic - 2.0 * np.einsum("gnm,gnm->", weights, cross) + energy.sum()), 0.0)
