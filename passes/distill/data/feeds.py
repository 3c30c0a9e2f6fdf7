"""What the training graph is fed with: inputs, the teacher's answers to them, labels as probabilities."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..graph.losses import LABELS, Target
from .augment import augmented
from .samples import create, no_room

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from .teacher import Answers

PART_BYTES = 128 * 2**20  # memory: of one part of an epoch
AHEAD = 2  # memory: parts that may wait for the trainer
FAILED = "train.failed"


@dataclass(frozen=True)
class Feeder:
    """Makes the feeds ``names`` of the training graph from inputs and labels; the teacher answers live."""

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    targets: tuple[Target, ...]
    teacher: Answers
    classes: int = 0

    def feeds(self, inputs: Sequence[np.ndarray], labels: np.ndarray | None) -> list[np.ndarray]:
        """The arrays in the order of ``names``; ``labels`` are numbers or already probabilities."""
        answers = self.teacher.run(inputs)
        made = dict(zip(self.inputs, inputs, strict=True))
        made |= {target.feed: answers[target.term.teacher] for target in self.targets}
        if LABELS in self.names and labels is not None:
            made[LABELS] = one_hot(labels, self.classes) if labels.ndim == 1 else labels
        return [made[name] for name in self.names]

    def write(
        self, folder: Path, inputs: Sequence[np.ndarray], labels: np.ndarray | None, batch: int, ctx: Context
    ) -> None:
        """Write the feeds of a whole set into ``folder``, where its inputs lie already."""
        count = len(inputs[0])
        arrays: dict[str, np.ndarray] = {}
        starts = range(0, count, batch)
        for start in ctx.progress("distill: running the teacher", starts, len(starts)):
            rows = slice(start, min(start + batch, count))
            part = None if labels is None else labels[rows]
            feeds = self.feeds([np.asarray(array[rows]) for array in inputs], part)
            for number, (name, values) in enumerate(zip(self.names, feeds, strict=True)):
                if name in self.inputs:
                    continue
                if name not in arrays:
                    arrays[name] = create(folder / f"{number}.npy", (count, *values.shape[1:]), values)
                arrays[name][rows] = values
        self._order_inputs(folder)

    def _order_inputs(self, folder: Path) -> None:
        """Inputs come first among the feeds, so that their files are in place."""
        assert self.names[: len(self.inputs)] == self.inputs, (self.names, folder)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N,) as probabilities (N, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


@dataclass(frozen=True)
class Plan:
    """How an epoch is cut into parts of whole batches."""

    rows: int  # of the training set that are used
    part: int  # rows of one part

    @classmethod
    def of(cls, rows: int, batch: int, bytes_per_row: int) -> Plan:
        """Parts of about ``PART_BYTES``."""
        batches = max(1, PART_BYTES // max(bytes_per_row * batch, 1))
        return cls(rows // batch * batch, min(batches, max(rows // batch, 1)) * batch)

    @property
    def parts(self) -> int:
        """How many parts an epoch has."""
        return -(-self.rows // self.part)


class Producer(threading.Thread):
    """Makes the parts of all epochs while the trainer works; the teacher sees what the student sees."""

    def __init__(
        self,
        folder: Path,
        feeder: Feeder,
        inputs: Sequence[np.ndarray],
        labels: np.ndarray | None,
        plan: Plan,
        batch: int,
        augment: tuple[str, ...],
        seed: int,
        epochs: range,
    ) -> None:
        super().__init__(daemon=True)
        self._folder, self._feeder, self._inputs, self._labels = folder, feeder, inputs, labels
        self._plan, self._batch, self._augment = plan, batch, augment
        self._seed, self._epochs = seed, epochs
        self._room = threading.Semaphore(AHEAD)
        self._stopped = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Make all parts; an error is kept for the main thread and passed to the trainer by a file."""
        try:
            for epoch in self._epochs:
                order = np.random.default_rng([self._seed, epoch, 2]).permutation(len(self._inputs[0]))
                for number in range(self._plan.parts):
                    self._room.acquire()
                    if self._stopped:
                        return
                    start = number * self._plan.part
                    self._make(epoch, number, order[start : min(start + self._plan.part, self._plan.rows)])
        except Exception as error:  # raised again by the main thread
            self.error = no_room(self._folder, error) if isinstance(error, OSError) else error
            (self._folder / FAILED).touch()

    def used(self, epoch: int, part: int) -> None:
        """Remove a part that the trainer has done with."""
        shutil.rmtree(self._folder / f"train-{epoch}.{part}", ignore_errors=True)
        self._room.release()

    def stop(self) -> None:
        """Make no more parts."""
        self._stopped = True
        self._room.release()
        self.join()

    def _make(self, epoch: int, number: int, rows: np.ndarray) -> None:
        rng = np.random.default_rng([self._seed, epoch, number, 3])
        draft = self._folder / f"draft-{epoch}.{number}"
        shutil.rmtree(draft, ignore_errors=True)
        arrays: list[np.ndarray] = []
        for start in range(0, len(rows), self._batch):
            chosen = np.sort(rows[start : start + self._batch])
            inputs = [np.ascontiguousarray(array[chosen]) for array in self._inputs]
            labels = None
            if self._labels is not None and self._feeder.classes:
                labels = one_hot(self._labels[chosen], self._feeder.classes)
            inputs, labels = augmented(inputs, labels, self._augment, rng)
            for place, values in enumerate(self._feeder.feeds(inputs, labels)):
                if len(arrays) <= place:
                    arrays.append(create(draft / f"{place}.npy", (len(rows), *values.shape[1:]), values))
                arrays[place][start : start + len(chosen)] = values
        del arrays
        draft.replace(self._folder / f"train-{epoch}.{number}")
