"""Rows that are kept once they are read, as far as memory is meant for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphopt.data.feeder import Feeder, Row

LIMIT = 2**28  # bytes; rows beyond are made anew each time


class KeptRows:
    """A feeder that remembers the rows another one has made, up to ``limit`` bytes; arrays are read-only."""

    def __init__(self, feeder: Feeder, limit: int = LIMIT) -> None:
        self._feeder = feeder
        self._limit = limit
        self._kept: dict[int, Row] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Another process makes its own rows."""
        return {"_feeder": self._feeder, "_limit": self._limit}

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

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the content hashes of `rows`."""
        return self._feeder.keys(rows)

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows` as feeds, in stored order."""
        for index in (int(row) for row in np.sort(rows)):
            row = self._kept.get(index)
            yield row if row is not None else self._made(index)

    def _made(self, index: int) -> Row:
        (row,) = self._feeder.read(np.array([index]))
        for feed in row.feeds.values():
            feed.flags.writeable = False
        size = sum(feed.nbytes for feed in row.feeds.values())
        with self._lock:
            if size <= self._limit:
                self._limit -= size
                self._kept[index] = row
        return row
