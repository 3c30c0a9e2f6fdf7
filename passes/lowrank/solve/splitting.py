"""Split a layer in two of which the first sees only some axes of the kernel.

The input rows are (inner, outer): the first layer computes ``rank`` features of the inner axes at each outer
position, the second combines those of all outer positions.  Features come from the whitened singular value
decomposition with the covariance averaged over the outer positions; the second layer is the exact
least-squares answer to them in the whole covariance, for every rank at once: with the features in order,
the problem of a smaller rank is a leading block of the larger one's, and so is its Cholesky factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.passes.lowrank.solve.whitening import (
    Inputs,
    Responses,
    lower_factor,
    response_svd,
    solve_lower,
    solve_upper,
    whitened_svd,
)


@dataclass(frozen=True)
class Splitting:
    """All ranks of one way to split a layer, up to a limit.

    ``first`` is (groups, inner, limit); ``lower`` the Cholesky factor of the features' covariance,
    (groups, limit x outer, limit x outer), None where it is the identity; ``solved`` (groups, limit x outer,
    outputs) what the features explain of the outputs, in white coordinates.
    """

    weights: np.ndarray  # (groups, inner, outer, outputs)
    energy: float
    values: np.ndarray  # (groups, full), singular values of the features
    first: np.ndarray
    lower: np.ndarray | None
    solved: np.ndarray

    @classmethod
    def of(
        cls,
        inputs: Inputs | Responses,
        weights: np.ndarray,
        inner: int,
        order: np.ndarray,
        limit: int | None = None,
    ) -> Splitting:
        """Prepare the split of ``weights`` (groups, n, outputs) whose rows in ``order`` are (inner, outer).

        ``limit`` is the largest rank that will be asked for; memory goes with its square.
        """
        groups, rows, outputs = weights.shape
        outer = rows // inner
        if isinstance(inputs, Responses) and outer > 1:
            raise ValueError("layer outputs say nothing about single positions of the kernel")
        if isinstance(inputs, Inputs) and not inputs.known:
            return cls._white(weights[:, order], inner)
        if outer == 1:
            shaped = weights.reshape(groups, inner, 1, outputs)
            if isinstance(inputs, Responses):
                first, values, right = response_svd(inputs.covariance, weights)
            else:
                first, values, right = whitened_svd(lower_factor(inputs.covariance), weights)
            solved = values[:, :, None] * right
            return cls(shaped, float(np.square(values).sum()), values, first, None, solved)
        weights = weights[:, order]
        covariance = inputs.covariance[:, order[:, None], order]
        blocks = covariance.reshape(groups, inner, outer, inner, outer)
        averaged = np.einsum("gaobo->gab", blocks) / outer
        flat = weights.reshape(groups, inner, outer * outputs)
        first, values, _ = whitened_svd(lower_factor(averaged), flat)
        first = first[:, :, :limit]
        features, cross = _features(first, covariance, weights, outer)
        lower = lower_factor(features)
        energy = float(np.einsum("gnm,gnm->", weights, covariance @ weights))
        shaped = weights.reshape(groups, inner, outer, outputs)
        return cls(shaped, energy, values, first, lower, solve_lower(lower, cross))

    @property
    def full(self) -> int:
        """The rank at which nothing is lost."""
        return int(self.values.shape[1])

    @property
    def outer(self) -> int:
        """Positions of the outer axes."""
        return int(self.weights.shape[2])

    @classmethod
    def _white(cls, weights: np.ndarray, inner: int) -> Splitting:
        """Split weights (groups, inner x outer, outputs) whose inputs are white: plain singular values."""
        groups, rows, outputs = weights.shape
        flat = weights.reshape(groups, inner, -1)
        first, values, right = np.linalg.svd(flat, full_matrices=False)
        solved = (values[:, :, None] * right).reshape(groups, -1, outputs)
        shaped = weights.reshape(groups, inner, rows // inner, outputs)
        return cls(shaped, float(np.square(values).sum()), values, first, None, solved)

    def errors(self) -> np.ndarray:
        """Return the output error of each rank from 0 to the limit, in units of ``Inputs.energy``."""
        explained = np.square(self.solved).sum(axis=(0, 2)).reshape(-1, self.outer).sum(axis=1)
        left = self.energy - np.concatenate([[0.0], np.cumsum(explained)])
        if self.lower is None:  # from the small end, where differences of large numbers say nothing
            left = np.concatenate([np.cumsum(explained[::-1])[::-1], [0.0]])
        return np.maximum(left, 0.0)

    def factors(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the two layers, (groups, inner, rank) and (groups, rank, outer, outputs)."""
        if rank >= self.full:
            return self._exact()
        size = rank * self.outer
        second = self._unsolved(self.solved[:, :size])
        return self.first[:, :, :rank], second.reshape(len(second), rank, self.outer, -1)

    def reduced(self, rank: int) -> Reduction:
        """Return the ways to let the second layer of this rank have fewer outputs and a third make up."""
        part = self.solved[:, : rank * self.outer]
        energies, vectors = np.linalg.eigh(part.transpose(0, 2, 1) @ part)
        count = min(part.shape[1:])
        falling = np.maximum(energies[:, ::-1][:, :count], 0.0)
        return Reduction(self, rank, falling, vectors[:, :, ::-1][:, :, :count].transpose(0, 2, 1))

    def _unsolved(self, solved: np.ndarray) -> np.ndarray:
        size = solved.shape[1]
        return solved if self.lower is None else solve_upper(self.lower[:, :size, :size], solved)

    def _exact(self) -> tuple[np.ndarray, np.ndarray]:
        """At full rank nothing is dropped: orthonormal factors, which lose fewer digits than white ones."""
        groups, inner, outer, outputs = self.weights.shape
        left, values, right = np.linalg.svd(self.weights.reshape(groups, inner, -1), full_matrices=False)
        return left, (values[:, :, None] * right).reshape(groups, -1, outer, outputs)


@dataclass(frozen=True)
class Reduction:
    """A split whose second layer is split once more, into fewer outputs and a 1 x 1 (Tucker-2)."""

    splitting: Splitting
    rank: int
    energies: np.ndarray  # (groups, k), what each output of the second layer explains
    right: np.ndarray  # (groups, k, outputs)

    def errors(self) -> np.ndarray:
        """Return the output error for 0, 1, ... k outputs of the second layer."""
        explained = self.energies.sum(axis=0)
        lost = float(self.splitting.errors()[self.rank])
        return lost + np.concatenate([np.cumsum(explained[::-1])[::-1], [0.0]])

    def factors(self, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return three layers: (groups, inner, rank), (groups, rank, outer, k) and (groups, k, outputs)."""
        split = self.splitting
        if self.rank >= split.full:
            first, whole = split._exact()
            flat = whole.reshape(len(whole), -1, whole.shape[-1])
            if outputs >= self.energies.shape[1]:
                left, values, last = np.linalg.svd(flat, full_matrices=False)
                core = left * values[:, None]
            else:
                last = self.right[:, :outputs]
                core = flat @ last.transpose(0, 2, 1)
            return first, core.reshape(*whole.shape[:3], -1), last
        last = self.right[:, :outputs]
        white = split.solved[:, : self.rank * split.outer] @ last.transpose(0, 2, 1)
        core = split._unsolved(white).reshape(len(white), self.rank, split.outer, -1)
        return split.first[:, :, : self.rank], core, last


def _features(
    first: np.ndarray, covariance: np.ndarray, weights: np.ndarray, outer: int
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the features at all outer positions, and with the outputs, features outermost."""
    groups, inner, full = first.shape
    turned = first.transpose(0, 2, 1)
    rows = (turned @ covariance.reshape(groups, inner, -1)).reshape(groups, full * outer, inner, outer)
    features = np.einsum("gnao,gaf->gnfo", rows, first, optimize=True)
    cross = rows.reshape(groups, full * outer, -1) @ weights
    return features.reshape(groups, full * outer, -1), cross
