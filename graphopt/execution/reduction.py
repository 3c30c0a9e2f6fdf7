"""The fixed tree in which the results of parts are added up.

Samples are cut into leaves of LEAF neighbours, numbered from 0.  A node of the binary tree over the leaves is
the sum of its two halves.  Sums of floats depend on the order of their terms, and the tree depends on the
number of samples alone: whoever computes which node, the root has the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

LEAF = 64  # memory, time: samples reduced one after the other; a worker that dies loses at least one leaf


class Mergeable(Protocol):
    """What adds up."""

    def merge(self, other: Any) -> Any:
        """The sum of both, as a new object."""
        ...


T = TypeVar("T", bound=Mergeable)


def leaves(samples: int) -> int:
    """How many leaves so many samples have."""
    return -(-samples // LEAF)


def parts(count: int, workers: int, *, heavy: bool = False) -> list[tuple[int, int]]:
    """Cut ``count`` leaves into nodes of the tree, (first leaf, leaves), to be computed as wholes.

    Large ones come first, so that results are few, and small ones last, so that all workers end together.
    Of ``heavy`` results each worker computes two, as far as the numbers allow, so that they travel once.
    """
    bounds, first = [], 0
    while first < count:
        share = max(1, (count if heavy else count - first) // (2 * workers))
        size = 1 << (share.bit_length() - 1)
        while first % size:
            size //= 2
        bounds.append((first, min(size, count - first)))
        first += size
    return bounds


class Reduction(Generic[T]):
    """Takes nodes in any order and adds up what is complete; each leaf counts once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._height = max(count - 1, 0).bit_length()
        self._nodes: dict[tuple[int, int], T] = {}  # by level and number within the level
        self._seen: set[int] = set()

    def add(self, first: int, size: int, value: T) -> None:
        """Take the node that begins at leaf ``first``; ValueError when leaves of it are in already."""
        covered = range(first, first + size)
        if not self._seen.isdisjoint(covered):
            raise ValueError(f"leaves {first} to {first + size} are counted already")
        self._seen.update(covered)
        level = max(size - 1, 0).bit_length()
        self._put(level, first >> level, value)

    def _put(self, level: int, number: int, value: T) -> None:
        while level < self._height:
            sibling = number ^ 1
            if sibling << level < self._count:
                other = self._nodes.pop((level, sibling), None)
                if other is None:
                    break
                value = value.merge(other) if sibling > number else other.merge(value)
            level, number = level + 1, number >> 1
        self._nodes[level, number] = value

    @property
    def done(self) -> int:
        """How many leaves are in."""
        return len(self._seen)

    def result(self) -> T:
        """The sum over all leaves; ValueError while some are missing."""
        if len(self._seen) != self._count:
            raise ValueError(f"{self._count - len(self._seen)} of {self._count} leaves are missing")
        (value,) = self._nodes.values()
        return value


def ranges(first: int, size: int, samples: int) -> Iterator[tuple[int, int]]:
    """The samples of each leaf of a node, (start, stop)."""
    for leaf in range(first, first + size):
        yield leaf * LEAF, min((leaf + 1) * LEAF, samples)
