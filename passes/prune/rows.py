"""What a layer reads at sampled output positions, and what it should come to there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphopt.stats import Frontier

from .task import Task

POSITIONS = 64  # output positions of a sample that are looked at
ROWS_BYTES = 64 * 2**20  # of one layer's rows; a wide layer is looked at in fewer places
ENOUGH = 4096  # rows of one group that are worth going beyond that
HELD_OUT = 8  # every so manyth sample only judges
BLOCK = 1024  # rows multiplied at a time: single precision inside, sums of blocks in double


@dataclass(frozen=True)
class Rows:
    """Rows of inputs and targets, float32; the rows of samples held out only judge a fit."""

    inputs: np.ndarray  # (groups, rows, n)
    targets: np.ndarray  # (groups, rows, outputs): what the layer should come to, ``beside`` included
    beside: np.ndarray | None  # (groups, rows, outputs): what is added to the layer's output
    judge: np.ndarray  # (rows,) bool

    @property
    def count(self) -> int:
        """Rows of each group."""
        return int(self.inputs.shape[1])

    def part(self, chosen: np.ndarray) -> Rows:
        """Some of the rows, as a mask."""
        beside = None if self.beside is None else self.beside[:, chosen]
        return Rows(self.inputs[:, chosen], self.targets[:, chosen], beside, self.judge[chosen])

    def reading(self, alive: np.ndarray) -> Rows:
        """The same with zeros for inputs that are not ``alive`` (groups, n)."""
        if alive.all():
            return self
        return Rows(self.inputs * alive[:, None, :], self.targets, self.beside, self.judge)

    def wanted(self) -> np.ndarray:
        """What the layer alone should come to."""
        return self.targets if self.beside is None else self.targets - self.beside

    def gram(self, biased: bool) -> np.ndarray:
        """Sum of x^T x, (groups, n, n), with a constant 1 at the end of x when ``biased``; float64."""
        return self._products(biased, None)

    def cross(self, targets: np.ndarray, biased: bool) -> np.ndarray:
        """Sum of x^T t, (groups, n, outputs), float64."""
        return self._products(biased, targets)

    def _products(self, biased: bool, targets: np.ndarray | None) -> np.ndarray:
        groups, rows, inputs = self.inputs.shape
        outputs = inputs + biased if targets is None else targets.shape[2]
        total = np.zeros((groups, inputs + biased, outputs))
        for start in range(0, rows, BLOCK):
            block = self.inputs[:, start : start + BLOCK]
            if biased:
                block = np.concatenate([block, np.ones((*block.shape[:2], 1), np.float32)], axis=2)
            total += block.transpose(0, 2, 1) @ (
                block if targets is None else targets[:, start : start + BLOCK]
            )
        return total

    def come_to(self, weights: np.ndarray, biased: bool) -> np.ndarray:
        """What the layer and what stands beside it come to with these weights, (groups, rows, outputs)."""
        small = weights.astype(np.float32)
        result: np.ndarray = self.inputs @ (small[:, :-1] if biased else small)
        if biased:
            result += small[:, -1:]
        return result if self.beside is None else result + self.beside


def reading(gram: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """The Gram matrix of the rows when only the ``alive`` inputs (groups, n) are read; a bias stays."""
    if alive.all():
        return gram
    kept = np.ones(gram.shape[:2])
    kept[:, : alive.shape[1]] = alive
    return np.asarray(gram * kept[:, :, None] * kept[:, None, :])


def collect_rows(task: Task, original: Frontier, pruned: Frontier, samples: int, seed: int) -> Rows | None:
    """Look at some positions of every sample; None when no position is finite.

    Which ones depends on ``seed`` and the sample's number; inputs and targets are taken at the same.
    """
    groups, unknowns, _ = task.patches.shape(task.weight.shape)
    most = max(ENOUGH, ROWS_BYTES // (4 * groups * unknowns))
    every = max(1, min(POSITIONS, most // max(samples, 1)))
    parts: list[tuple[np.ndarray, ...]] = []
    for number, (read, target, beside) in enumerate(_values(task, original, pruned)):
        places = task.patches.places(read)
        chosen = np.arange(places)
        if places > every:
            chosen = np.sort(np.random.default_rng([seed, number]).choice(places, every, replace=False))
        found = [task.patches.rows(read, chosen), task.patches.outputs(target, chosen)]
        if beside is not None:
            found.append(task.patches.outputs(beside, chosen))
        finite = np.logical_and.reduce([np.isfinite(part).all(axis=(0, 2)) for part in found])
        judge = np.full((1, int(finite.sum()), 1), number % HELD_OUT == HELD_OUT - 1)
        parts.append((judge, *(part[:, finite].astype(np.float32) for part in found)))
    judge, inputs, targets, *more = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return Rows(inputs, targets, more[0] if more else None, judge.ravel()) if inputs.shape[1] else None


def _values(
    task: Task, original: Frontier, pruned: Frontier
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield what the layer reads, what it should come to, and what stands beside it, for each sample."""
    source = task.node.inputs[0].name
    names = [source] if task.branch is None else [source, task.branch]
    for there, here in zip(original.stream([task.target]), pruned.stream(names), strict=True):
        yield here[source], there[task.target], None if task.branch is None else here[task.branch]
