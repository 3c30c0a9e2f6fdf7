"""The samples as they lie in the job folder: memory-mapped arrays, one file for each input of the graph.

``train`` is the whole training set, used in every epoch; or ``train-E.P`` is part P of epoch E, which
appears when the main process has made it and which it removes when it was used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .events import Failure, Job

POLL = 0.02  # time: seconds between two looks for a part that is being made


class Part:
    """Arrays with equal first axes, in the order of the graph's inputs."""

    def __init__(self, folder: Path, count: int) -> None:
        files = [folder / f"{number}.npy" for number in range(count)]
        self.arrays = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]

    def __len__(self) -> int:
        return len(self.arrays[0]) if self.arrays else 0

    def batch(self, rows: np.ndarray) -> list[np.ndarray]:
        """Copy some rows of every array."""
        return [np.ascontiguousarray(array[rows]) for array in self.arrays]

    def batches(self, size: int) -> Iterator[list[np.ndarray]]:
        """All full batches in the order they are stored."""
        for start in range(0, len(self) - size + 1, size):
            yield self.batch(np.arange(start, start + size))


def epoch_parts(job: Job, epoch: int, stopped: Callable[[], Any]) -> Iterator[Part]:
    """The parts of one epoch, waited for when they are made meanwhile."""
    if not job["parts"]:
        yield Part(Path("train"), len(job["feeds"]))
        return
    for number in range(job["parts"]):
        folder = Path(f"train-{epoch}.{number}")
        while not folder.is_dir():
            if stopped():
                return
            if Path("train.failed").exists():
                raise Failure("data", "the samples of the next part could not be made")
            time.sleep(POLL)
        yield Part(folder, len(job["feeds"]))
