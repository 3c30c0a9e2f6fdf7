"""Samples: a repeatable, streaming set of feeds for a model, with labels when the data has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from graphopt.data.feeder import Feeder, Ordered, Row
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.geometry import Placement
from graphopt.errors import DataError


@dataclass(frozen=True, eq=False)
class Sample:
    """One run of the model.

    `feeds` maps input names to arrays with a leading batch dimension of 1, or of N for a model whose batch is
    fixed to N: then the sample is N rows, `label` is None and `labels` has all of them.
    `rows` are the numbers of its rows in the data and `placements` say where the pixels of its images lie in
    the feed (None for what is no image).
    """

    feeds: dict[str, np.ndarray]
    label: int | None
    labels: tuple[int, ...] | None = None
    rows: tuple[int, ...] = ()
    placements: tuple[Placement | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of equal shapes stacked along axis 0; `labels` is (rows,) int64 or None."""

    feeds: dict[str, np.ndarray]
    labels: np.ndarray | None
    samples: int


@dataclass(frozen=True, eq=False)
class Samples:
    """A set of samples; iterating reads them anew each time, in the order they are stored.

    `batch` is the batch size the model insists on (None: any).  Rows short of a last batch are left out.
    """

    source: str
    feeder: Feeder
    rows: np.ndarray  # (R,) row numbers in the order in which take, skip and slices count
    batch: int | None = None
    preprocess: Preprocess | None = None
    warnings: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """True when every sample has a label."""
        return self.feeder.labels is not None

    @property
    def group(self) -> int:
        """Rows in one sample."""
        return self.batch or 1

    def __len__(self) -> int:
        return len(self.rows) // self.group

    def __iter__(self) -> Iterator[Sample]:
        pending: list[Row] = []
        for row in self.feeder.read(self._used()):
            pending.append(row)
            if len(pending) == self.group:
                yield self._sample(pending)
                pending = []

    def with_warnings(self, texts: Iterable[str]) -> Samples:
        """The same samples with more to say about them."""
        return replace(self, warnings=(*self.warnings, *texts))

    def content_keys(self) -> Iterator[str]:
        """The hashes of the raw content of all rows, without decoding or preprocessing anything."""
        return self.feeder.keys(self._used())

    def take(self, count: int) -> Samples:
        """`count` samples spread over the data: the first ones in shuffled order, read in stored order."""
        return replace(self, rows=self.rows[: max(count, 0) * self.group])

    def skip(self, count: int) -> Samples:
        """All but what ``take(count)`` takes."""
        return replace(self, rows=self.rows[max(count, 0) * self.group :])

    def part(self, start: int, stop: int) -> Samples:
        """The samples ``start`` to ``stop`` in the order in which they are read."""
        rows = self.feeder.order(self._used()) if isinstance(self.feeder, Ordered) else np.sort(self._used())
        return replace(self, rows=rows[start * self.group : stop * self.group])

    def batches(self, size: int, cut: int = 0) -> Iterator[Batch]:
        """Stack up to `size` neighbours of equal shapes; with a fixed batch each sample is a batch.

        No batch reaches over a multiple of ``cut`` samples.
        """
        pending: list[Sample] = []
        for number, sample in enumerate(self):
            if pending and (
                self.batch is not None
                or len(pending) >= size
                or (cut and number % cut == 0)
                or not _stackable(pending[0], sample)
            ):
                yield _stack(pending)
                pending = []
            pending.append(sample)
        if pending:
            yield _stack(pending)

    def check_labels(self, classes: int) -> None:
        """Raise DataError when a label is not in 0..classes-1, naming the sample."""
        labels = self.feeder.labels
        if labels is None:
            return
        used = self._used()
        wrong = used[(labels[used] < 0) | (labels[used] >= classes)]
        if wrong.size:
            name, label = self.feeder.names[int(wrong[0])], int(labels[wrong[0]])
            raise DataError(
                f"sample {name} of {self.source} has the label {label}, but classes are 0..{classes - 1}",
                hint="labels count from 0; check that data and model belong together",
            )

    def _used(self) -> np.ndarray:
        return self.rows[: len(self) * self.group]

    def _sample(self, rows: list[Row]) -> Sample:
        labels = None
        if self.feeder.labels is not None:
            labels = tuple(int(self.feeder.labels[row.index]) for row in rows)
        numbers, places = tuple(row.index for row in rows), tuple(row.placement for row in rows)
        if len(rows) == 1:
            label = labels[0] if labels else None
            return Sample(rows[0].feeds, label, labels, numbers, places)
        feeds = _concatenated([row.feeds for row in rows])
        return Sample(feeds, None, labels, numbers, places)


def shared(first: Samples, second: Samples) -> int:
    """How many rows of `first` have the same raw content as some row of `second`."""
    keys = set(second.content_keys())
    return sum(key in keys for key in first.content_keys())


def _stackable(first: Sample, second: Sample) -> bool:
    return all(first.feeds[name].shape[1:] == feed.shape[1:] for name, feed in second.feeds.items())


def _stack(samples: list[Sample]) -> Batch:
    labels = [label for sample in samples for label in sample.labels or ()]
    feeds = _concatenated([sample.feeds for sample in samples])
    return Batch(feeds, np.asarray(labels, np.int64) if labels else None, len(samples))


def _concatenated(feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(feeds) == 1:
        return feeds[0]
    try:
        return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    except ValueError as error:
        raise DataError(
            f"the samples of one batch differ in shape: {error}", hint="give a size to --preprocess"
        ) from error
