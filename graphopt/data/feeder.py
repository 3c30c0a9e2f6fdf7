"""What stands behind Samples: a numbered set of raw rows that can be read, hashed and turned into feeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from graphopt.data.preprocess.geometry import Placement


@dataclass(frozen=True, eq=False)
class Row:
    """One row as the model's inputs take it; every batched feed has a leading dimension 1."""

    index: int
    feeds: dict[str, np.ndarray]
    placement: Placement | None = None  # of the image in its feed; None for what is no image


class Feeder(Protocol):
    """A source of rows; rows come in the order they are stored, whatever the order of `rows`."""

    @property
    def names(self) -> Sequence[str] | range:
        """One name for each row, or their numbers; the shuffle depends on nothing else."""
        ...

    @property
    def labels(self) -> np.ndarray | None:
        """(N,) int64, or None."""
        ...

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows` as feeds."""
        ...

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the content hashes of `rows` without building feeds."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """A feeder that stores its rows in another order than that of their numbers."""

    def order(self, rows: np.ndarray) -> np.ndarray:
        """`rows` in the order in which they are read."""
        ...


def content_key(*parts: bytes | np.ndarray) -> str:
    """BLAKE2b (128 bit, hex) of raw content; arrays count with dtype and shape."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part)
    return digest.hexdigest()
