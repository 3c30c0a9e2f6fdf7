"""What a layer reads at sampled output positions, and what it should come to there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.calibration import ActivationCheckpoint
from graphopt.calibration.statistics.gram import POSITIONS
from graphopt.solve import judges

from .layer_task import Task

ROWS_BYTES = 64 * 2**20  # memory: of one layer's rows; a wide layer is looked at in fewer places
TARGET_BYTES = 256 * 2**20  # memory: of targets kept for further walks over the same samples
ENOUGH = 4096  # memory: rows of one group that are worth going beyond that
BLOCK = 1024  # memory: rows multiplied at a time: single precision inside, sums of blocks in double


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


def collect_rows(
    task: Task,
    original: ActivationCheckpoint,
    pruned: ActivationCheckpoint,
    seed: int,
    then: Sequence[str] = (),
    targets: Targets | None = None,
) -> Rows | None:
    """Look at some positions of every sample; None when no position is finite.

    Which ones depends on ``seed`` and the sample's number; inputs and targets are taken at the same.  The
    original's cut moves on to ``then`` on the way.  ``targets`` keeps what the original comes to, and spares
    its run where that is known from an earlier walk over the same samples.
    """
    look = _Look(task, seed, original.samples)
    target = None if targets is None else targets.find(task)
    wanted = None if target is not None else original.stream([task.target], then)
    names = [task.node.inputs[0].name, *([] if task.branch is None else [task.branch])]
    rows: list[list[np.ndarray]] = [[] for _ in range(2 + (task.branch is not None))]
    for number, here in enumerate(pruned.stream(names)):
        chosen = look.at(number, task.patches.places(here[names[0]]))
        rows[0].append(task.patches.rows(here[names[0]], chosen))
        if wanted is not None:
            rows[1].append(task.patches.outputs(next(wanted)[task.target], chosen))
        if task.branch is not None:
            rows[2].append(task.patches.outputs(here[task.branch], chosen))
    if wanted is not None:
        next(wanted, None)  # lets the cut move
    judge = np.repeat(
        [judges(n, original.samples) for n in range(len(rows[0]))], [p.shape[1] for p in rows[0]]
    )
    parts = [_joined(part) for part in rows if part]
    if target is not None:
        parts.insert(1, target)
    elif targets is not None:
        targets.keep(task, parts[1])
    return _finite(Rows(parts[0], parts[1], parts[2] if task.branch is not None else None, judge))


class Targets:
    """What layers of the original come to at the positions looked at, for walks over the same samples."""

    def __init__(self, limit: int = TARGET_BYTES) -> None:
        self._left = limit
        self._kept: dict[tuple[str, str], np.ndarray] = {}

    def find(self, task: Task) -> np.ndarray | None:
        """Return the targets of a layer, (groups, rows, outputs), if they are kept."""
        return self._kept.get((task.node.output.name, task.target))

    def keep(self, task: Task, targets: np.ndarray) -> None:
        """Keep the targets of a layer, if there is room."""
        if targets.nbytes <= self._left:
            self._left -= targets.nbytes
            self._kept[task.node.output.name, task.target] = targets


class _Look:
    """Which output positions of each sample are looked at."""

    def __init__(self, task: Task, seed: int, samples: int) -> None:
        groups, unknowns, _ = task.patches.shape(task.weight.shape)
        most = max(ENOUGH, ROWS_BYTES // (4 * groups * unknowns))
        self._every = max(1, min(POSITIONS, most // max(samples, 1)))
        self._seed = seed

    def at(self, number: int, places: int) -> np.ndarray:
        """Return positions of a sample that has so many."""
        if places <= self._every:
            return np.arange(places)
        rng = np.random.default_rng([self._seed, number])
        return np.sort(rng.choice(places, self._every, replace=False))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """The rows of all samples, (groups, rows, n) float32."""
    result = np.empty((len(parts[0]), sum(part.shape[1] for part in parts), parts[0].shape[2]), np.float32)
    with np.errstate(over="ignore"):  # what single precision cannot hold is left out with what is not finite
        return np.concatenate(parts, axis=1, out=result, casting="same_kind")


def _finite(rows: Rows) -> Rows | None:
    """The rows of which all is finite."""
    arrays = [rows.inputs, rows.targets, *([] if rows.beside is None else [rows.beside])]
    finite = np.logical_and.reduce([np.isfinite(values).all(axis=(0, 2)) for values in arrays])
    if finite.all():
        return rows
    return rows.part(finite) if finite.any() else None
