"""Set single weights of a least-squares problem to zero, and let those after them make up for it.

Columns are visited in order; a weight that goes is compensated by the later weights of its output with a
downdate of the inverse, which all outputs share (SparseGPT: E. Frantar and D. Alistarh, 2023; Optimal Brain
Surgeon on one weight at a time).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from graphopt.solve.least_squares import damping

BLOCK = 16  # measured (constants): columns whose masks are chosen together
# theory: damping as in SparseGPT (E. Frantar and D. Alistarh, 2023): the inverse alone decides here, so it
# has to be tamer than that of a fit
RELATIVE = 1e-2

Scores: TypeAlias = np.ndarray
Chooser: TypeAlias = "Callable[[Scores], np.ndarray]"
"""Turns the costs of weights, (outputs, columns), into a mask of those that go."""


def sparse_fit(
    gram: np.ndarray, weights: np.ndarray, choose: Chooser, *, bias: bool = False, block: int = BLOCK
) -> np.ndarray:
    """Return weights (groups, n, outputs) with zeros where ``choose`` wants them, the others adjusted.

    ``gram`` is (groups, n, n), ``weights`` the dense solution.  With ``bias`` the last input is a constant
    and never loses its weight.  ``choose`` is asked for ``block`` inputs at a time, groups one after another.
    """
    held = damping(gram, RELATIVE, bias=bias)
    solved = [
        _sparse(gram[group] + np.diag(held[group]), weights[group].T, choose, bias, block).T
        for group in range(len(gram))
    ]
    return np.stack(solved)


def _sparse(damped: np.ndarray, dense: np.ndarray, choose: Chooser, bias: bool, block: int) -> np.ndarray:
    """One group: ``dense`` is (outputs, n)."""
    weights = dense.astype(np.float64).copy()
    inverse = np.linalg.inv(damped)
    # rows of the upper factor are what is left of the inverse once all earlier inputs are settled
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    inputs = weights.shape[1] - bias
    for start in range(0, inputs, block):
        stop = min(start + block, inputs)
        costs = np.square(weights[:, start:stop]) / np.square(np.diagonal(factor)[start:stop])
        gone = choose(costs)
        errors = np.zeros((len(weights), stop - start))
        for column in range(start, stop):
            missing = np.where(gone[:, column - start], weights[:, column], 0.0) / factor[column, column]
            weights[:, column:stop] -= np.outer(missing, factor[column, column:stop])
            weights[gone[:, column - start], column] = 0.0
            errors[:, column - start] = missing
        weights[:, stop:] -= errors @ factor[start:stop, stop:]
    return weights
