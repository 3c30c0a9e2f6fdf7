"""What it costs to leave inputs of a least-squares problem out: Optimal Brain Surgeon on whole blocks.

With ``H = (G + L)^-1`` and W the solution, leaving the inputs p out and solving for the others raises the
damped squared error by exactly ``tr(W_p^T (H_pp)^-1 W_p)``, and both follow by a downdate::

    W -= H[:, p] H_pp^-1 W_p            H -= H[:, p] H_pp^-1 H[p, :]

(B. Hassibi and D. Stork, 1993, for single weights; blocks as in ThiNet and Optimal Brain Compression.)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from graphopt.solve.least_squares import RELATIVE, damping

# measured (constants): between 1/2, where the errors of all consumers are alike, and 1, independent
ALIKE = 0.7
STEPS = 64  # time: a curve of many channels takes several away at a time, about so many times


class Elimination:
    """One layer whose inputs leave block by block; the remaining weights are always the best ones.

    ``gram`` is (groups, n, n), ``weights`` (groups, n, outputs).  A block is a list of (group, inputs).
    """

    def __init__(
        self, gram: np.ndarray, weights: np.ndarray, relative: float = RELATIVE, *, bias: bool = False
    ) -> None:
        held = damping(gram, relative, bias=bias)
        inverse = np.linalg.inv(gram + held[:, :, None] * np.eye(gram.shape[1]))
        self._inverse = (inverse + inverse.transpose(0, 2, 1)) / 2
        self.weights = weights.copy()

    def costs(self, blocks: np.ndarray, group: int = 0) -> np.ndarray:
        """Return what leaving out each row of ``blocks`` (count, size) alone would cost."""
        inner = self._inverse[group][blocks[:, :, None], blocks[:, None, :]]
        weights = self.weights[group][blocks]
        costs: np.ndarray = np.einsum("bso,bso->b", weights, np.linalg.solve(inner, weights))
        return costs

    def remove(self, inputs: np.ndarray, group: int = 0) -> float:
        """Leave these inputs out and return what that costs together."""
        inverse, weights = self._inverse[group], self.weights[group]
        columns, gone = inverse[:, inputs], weights[inputs]
        solved = np.linalg.solve(inverse[np.ix_(inputs, inputs)], np.concatenate([gone, columns.T], axis=1))
        outputs = gone.shape[1]
        cost = float(np.einsum("so,so->", gone, solved[:, :outputs]))
        weights -= columns @ solved[:, :outputs]
        inverse -= columns @ solved[:, outputs:]
        # In place, with ones on the diagonal, so that nothing has to shrink.
        weights[inputs] = 0.0
        inverse[inputs] = inverse[:, inputs] = 0.0
        inverse[inputs, inputs] = 1.0
        return max(cost, 0.0)


class Reader(Protocol):
    """What loses inputs: an Elimination, or something cheaper."""

    def costs(self, blocks: np.ndarray, group: int = 0) -> np.ndarray:
        """Return what leaving out each row of ``blocks`` (count, size) alone would cost."""
        ...

    def remove(self, inputs: np.ndarray, group: int = 0) -> float:
        """Leave these inputs out and return what that costs together."""
        ...


Reading: TypeAlias = "tuple[Reader, Sequence[tuple[int, np.ndarray]], float]"


def removal_curve(
    readers: Sequence[Reading], channels: int, goes_into: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Take all channels away, the cheapest first; return the order and what the first 0, 1, ... cost.

    A reading is a layer, where it reads the channels, and by what its cost is multiplied; "where" lists
    (group, inputs) with inputs (channels, size): what is left out with each channel.  With many channels
    several go at a time.  All readers miss the same, so their errors go more or less the same way through the
    network, and together weigh more than their sum: ``(sum of cost ** ALIKE) ** (1 / ALIKE)``.  Readers whose
    outputs lie side by side in one tensor are one wider reader in parts, and their costs just add up:
    ``goes_into`` is the same for these.
    """
    order: list[int] = []
    curves = [np.zeros((len(readers), 1))]
    left = np.arange(channels)
    chunk = -(-channels // STEPS)
    while len(left):
        alone = np.zeros(len(left))
        for reader, places, scale in readers:
            for group, inputs in places:
                alone += scale * reader.costs(inputs[left], group)
        chosen = left[np.argsort(alone, kind="stable")[:chunk]]
        lost = [
            scale * sum(reader.remove(inputs[chosen].ravel(), group) for group, inputs in places)
            for reader, places, scale in readers
        ]
        shares = np.maximum(np.sort(alone)[:chunk], 0.0)  # rounding may leave a cost below zero
        shares = np.cumsum(shares) / (shares.sum() or 1.0)
        curves.append(curves[-1][:, -1:] + np.outer(lost, shares))
        order.extend(chosen.tolist())
        left = np.setdiff1d(left, chosen)
    together = np.power(_by_target(np.concatenate(curves, axis=1), goes_into), ALIKE).sum(axis=0)
    return np.asarray(order, np.int64), np.power(together, 1.0 / ALIKE)


def _by_target(curves: np.ndarray, targets: Sequence[Hashable] | None) -> np.ndarray:
    """The curves (readers, n) of readers that go into the same, added up."""
    if targets is None:
        return curves
    rows = {target: row for row, target in enumerate(dict.fromkeys(targets))}
    sums = np.zeros((len(rows), curves.shape[1]))
    np.add.at(sums, [rows[target] for target in targets], curves)
    return sums
