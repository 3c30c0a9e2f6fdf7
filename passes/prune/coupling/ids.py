"""Channel identities: who is coupled with whom, and who may not go, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = "npt.NDArray[np.int64]"

FIXED = 0  # fixed: the id of an entry that is nobody's channel and always stays


class ChannelIds:
    """Issues channel ids, ties them into classes, and remembers which are pinned.

    A *class* is a set of ids that can only be removed together; it is named by its smallest id.
    """

    def __init__(self) -> None:
        self._parent: list[int] = [FIXED]
        self._walls: dict[int, str] = {}
        self._broken: set[int] = set()

    def fresh(self, count: int) -> Ids:
        """Return ``count`` new ids."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def tie(self, first: Ids, second: Ids, reason: str) -> None:
        """Couple the ids entry by entry; what is tied to a fixed entry is pinned with ``reason``."""
        for a, b in dict.fromkeys(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)):
            if a != FIXED != b:
                self._union(a, b)
            elif a != b:
                self._walls.setdefault(a or b, reason)

    def pin(self, ids: Ids, reason: str) -> None:
        """Keep the classes of ``ids`` whole; the first reason given to an id is the one reported."""
        for one in np.unique(ids).tolist():
            if one != FIXED:
                self._walls.setdefault(one, reason)

    def break_zeros(self, ids: Ids) -> None:
        """Note that something turns zeros on these channels into other values."""
        self._broken.update(np.unique(ids).tolist())

    def find(self, one: int) -> int:
        """Return the name of the class that an id belongs to."""
        root = one
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[one] != root:
            self._parent[one], one = root, self._parent[one]
        return root

    def canonical(self, ids: Ids) -> Ids:
        """Return the ids with each replaced by the name of its class."""
        names, places = np.unique(ids, return_inverse=True)
        roots = np.asarray([self.find(one) for one in names.tolist()], np.int64)
        return roots[places].reshape(ids.shape)

    def classes(self) -> Ids:
        """Return the class of every id; entry 0 is FIXED."""
        return np.asarray([self.find(one) for one in range(len(self._parent))], np.int64)

    def walls(self) -> dict[int, str]:
        """Return the reason of each class that has to stay."""
        reasons: dict[int, str] = {}
        for one, reason in self._walls.items():  # in the order in which they were met
            reasons.setdefault(self.find(one), reason)
        return reasons

    def broken(self) -> set[int]:
        """Return the classes on which zeros do not stay zeros."""
        return {self.find(one) for one in self._broken}

    def _union(self, a: int, b: int) -> None:
        low, high = sorted((self.find(a), self.find(b)))
        self._parent[high] = low


@dataclass(frozen=True)
class Decision:
    """Classes that go together from now on, or that have to stay, and the reason."""

    classes: Ids
    reason: str
    stay: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """Channels in blocks that must stay equally wide: the groups of a convolution.

    Which channels of the blocks go together is free; see bundles.py.
    """

    blocks: Ids  # (groups, channels of a group)
    reason: str
