"""Prepared images are kept in a temporary file: many passes over the samples decode and resize them once."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np

from graphopt.data.feeder import Feeder, Ordered, Row
from graphopt.data.preprocess.geometry import Placement
from graphopt.data.samples import Samples
from graphopt.data.sources.images import ImageFeeder

LIMIT = 2 * 2**30  # bytes on disk; samples that take more are prepared anew each time


def spooled(samples: Samples) -> Samples:
    """The same samples, images prepared only once; arrays lie ready and are read where they are."""
    if not isinstance(samples.feeder, ImageFeeder):
        return samples
    return replace(samples, feeder=Spool(samples.feeder))


@dataclass(frozen=True)
class _Stored:
    """Where a row lies in the file, and what its feeds are; all but their values."""

    offset: int
    feeds: dict[str, tuple[np.dtype, tuple[int, ...]]]
    placement: Placement | None


class Spool:
    """A feeder that remembers the rows another one has read.

    The file has no name, so nothing is left of it however the process ends.  Rows that are asked for in the
    same combination again come from it, in the same order.
    """

    def __init__(self, feeder: Feeder, limit: int = LIMIT) -> None:
        self._feeder = feeder
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._end = 0
        self._stored: dict[int, _Stored] = {}
        self._orders: dict[bytes, list[int]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Another process prepares its own rows."""
        return {"_feeder": self._feeder, "_limit": LIMIT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_feeder"], state["_limit"])  # type: ignore[misc]

    @property
    def names(self) -> Sequence[str] | range:
        """The names of the rows."""
        return self._feeder.names

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of the rows."""
        return self._feeder.labels

    def order(self, rows: np.ndarray) -> np.ndarray:
        """`rows` in the order in which the feeder reads them."""
        return self._feeder.order(rows) if isinstance(self._feeder, Ordered) else np.sort(rows)

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the content hashes of `rows`."""
        return self._feeder.keys(rows)

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows` as feeds, in the order of the feeder."""
        asked = np.sort(rows).tobytes()
        order = self._orders.get(asked)
        if order is not None:
            yield from map(self._fetch, order)
            return
        order, keeps = [], True
        for row in self._feeder.read(rows):
            if not order:  # rows of which some are missing would be prepared anew all the same
                keeps = self._end + len(rows) * _size(row) <= self._limit
            if keeps:
                self._store(row)
            order.append(row.index)
            yield row
        if all(index in self._stored for index in order):
            self._orders[asked] = order

    def _store(self, row: Row) -> None:
        size = _size(row)
        with self._lock:
            if row.index in self._stored or self._end + size > self._limit:
                return
            try:
                self._append(row)
            except OSError:  # no room on the disk: what is not there yet is prepared anew each time
                self._limit = 0
                return
            feeds = {name: (feed.dtype, feed.shape) for name, feed in row.feeds.items()}
            self._stored[row.index] = _Stored(self._end, feeds, row.placement)
            self._end += size

    def _append(self, row: Row) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="graphopt-")  # noqa: SIM115 (open as long as this is)
        self._file.seek(self._end)
        for feed in row.feeds.values():
            self._file.write(np.ascontiguousarray(feed).data)
        self._file.flush()

    def _fetch(self, index: int) -> Row:
        stored, feeds = self._stored[index], {}
        assert self._file is not None
        with self._lock:
            self._file.seek(stored.offset)
            for name, (dtype, shape) in stored.feeds.items():
                feeds[name] = np.empty(shape, dtype)
                self._file.readinto(feeds[name].reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return Row(index, feeds, stored.placement)


def _size(row: Row) -> int:
    return sum(feed.nbytes for feed in row.feeds.values())
