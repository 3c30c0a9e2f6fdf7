"""Which channels of different blocks go together, where blocks must stay equally wide.

All groups of a grouped convolution have to lose equally many channels, but each may lose its own.  So the
least important removable channel of one group is bundled with the least important one of every other group,
then the second least, and so on; a bundle is tied into one class and goes or stays as a whole.  A channel may
lie in blocks of several layers at once (group k of the layer that makes it, group t of the layer behind a
channel shuffle that reads it): a bundle takes one channel from every block of every layer that it touches, an
exact cover, found by search (for two layers it is a perfect matching of their groups, which exists as
long as all blocks are equally wide: D. Konig, 1916).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .ledger import FIXED, Ids, Ledger
from .slots import Slot
from .walk import Balance

EFFORT = 20_000  # steps of the search for one bundle; more is not worth a channel

Block = tuple[int, int]  # number of the balance, number of the block in it
Kind = tuple[frozenset[Block], tuple[tuple[int, int], ...]]  # blocks, and how often in those of each balance


def bundle(ledger: Ledger, balances: Sequence[Balance], slots: Iterable[Slot]) -> None:
    """Tie channels so that removing any class leaves the blocks of every balance equally wide.

    Channels that find no partners get a wall.  The choice of partners depends on the weights alone.
    """
    distinct = _distinct(ledger, balances)
    if not distinct:
        return
    kinds = _kinds(ledger, [table for table, _ in distinct], [reason for _, reason in distinct])
    heights, norms = [len(table) for table, _ in distinct], _norms(ledger, slots) if kinds else {}
    for part in _components(kinds):
        _Search(ledger, part, heights, norms).run([reason for _, reason in distinct])


def _distinct(ledger: Ledger, balances: Sequence[Balance]) -> list[tuple[Ids, str]]:
    """The balances in terms of classes, each set of blocks once."""
    found: dict[tuple[bytes, ...], tuple[Ids, str]] = {}
    for balance in balances:
        table = np.sort(ledger.canonical(balance.blocks), axis=1)
        key = tuple(sorted(row.tobytes() for row in table))
        found.setdefault(key, (table, balance.reason))
    return list(found.values())


def _kinds(ledger: Ledger, tables: Sequence[Ids], reasons: Sequence[str]) -> dict[Kind, list[int]]:
    """Sort the removable classes by the blocks they lie in; those that lie evenly in all need no partners."""
    places: dict[int, dict[int, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for number, table in enumerate(tables):
        for row, entries in enumerate(table.tolist()):
            for one in entries:
                places[one][number][row] += 1
    walls, kinds = ledger.walls(), defaultdict(list)
    for one, lies in places.items():
        if one == FIXED or one in walls:
            continue
        blocks: set[Block] = set()
        often: list[tuple[int, int]] = []
        for number, counts in lies.items():
            if len(set(counts.values())) > 1:
                ledger.wall(np.asarray([one]), f"{reasons[number]}, and hold different numbers of them")
                break
            if len(counts) < len(tables[number]):
                blocks |= {(number, row) for row in counts}
                often.append((number, next(iter(counts.values()))))
        else:
            if blocks:
                kinds[frozenset(blocks), tuple(sorted(often))].append(one)
    return kinds


def _components(kinds: Mapping[Kind, list[int]]) -> Iterator[dict[Kind, list[int]]]:
    """Yield the kinds that share balances, directly or over others, together."""
    of: dict[int, list[Kind]] = defaultdict(list)
    for kind in kinds:
        for number, _ in kind[1]:
            of[number].append(kind)
    seen: set[Kind] = set()
    for first in kinds:
        if first in seen:
            continue
        seen.add(first)
        part, pending = [], [first]
        while pending:
            part.append(pending.pop())
            for number, _ in part[-1][1]:
                new = [kind for kind in of.pop(number, ()) if kind not in seen]
                seen.update(new)
                pending.extend(new)
        yield {kind: kinds[kind] for kind in part}


def _norms(ledger: Ledger, slots: Iterable[Slot]) -> Mapping[int, float]:
    """The squared norm of the filters that make each class, in units of the mean of their layer."""
    total: dict[int, float] = defaultdict(float)
    for slot in slots:
        if slot.role == "out":
            rows = slot.rows().astype(np.float64)
            energy = np.einsum("cr,cr->c", rows, rows)
            energy /= energy.mean() or 1.0
            for one, value in zip(ledger.canonical(slot.ids).tolist(), energy.tolist(), strict=True):
                total[one] += value
    return total


@dataclass
class _Search:
    """Finds bundles, the least important channels first."""

    ledger: Ledger
    kinds: dict[Kind, list[int]]  # the removable classes of each kind
    heights: list[int]  # how many blocks each balance has
    norms: Mapping[int, float]
    by_block: dict[Block, list[Kind]] = field(default_factory=lambda: defaultdict(list))
    effort: int = 0

    def run(self, reasons: Sequence[str]) -> None:
        """Bundle everything that can be bundled, and wall off the rest."""
        for kind, classes in self.kinds.items():
            classes.sort(key=lambda one: (-self.norms.get(one, 0.0), one))  # the next one is the last
            for block in kind[0]:
                self.by_block[block].append(kind)
        while any(self.kinds.values()):
            start = min((kind for kind, left in self.kinds.items() if left), key=self._next_norm)
            self.effort = EFFORT
            found = self._complete([start], set(start[0]), dict(start[1]))
            if found is None:
                number = start[1][0][0]
                self.ledger.wall(
                    np.asarray(self.kinds[start]), f"{reasons[number]}, and the others have none to spare"
                )
                self.kinds[start] = []
                continue
            self._tie([self.kinds[kind].pop() for kind in found], reasons[start[1][0][0]])

    def _next_norm(self, kind: Kind) -> tuple[float, int]:
        one = self.kinds[kind][-1]
        return self.norms.get(one, 0.0), one

    def _tie(self, classes: Sequence[int], reason: str) -> None:
        first = np.full(len(classes) - 1, classes[0], np.int64)
        self.ledger.tie(first, np.asarray(classes[1:], np.int64), reason)

    def _complete(self, chosen: list[Kind], covered: set[Block], often: dict[int, int]) -> list[Kind] | None:
        """Add kinds until every block of every balance touched is covered exactly once."""
        while (fitting := self._tightest(chosen, covered, often)) is not None:
            self.effort -= 1
            if self.effort < 0 or not fitting:
                return None
            if len(fitting) > 1:
                return self._try_each(fitting, chosen, covered, often)
            chosen, covered, often = _with(fitting[0], chosen, covered, often)
        return chosen

    def _try_each(
        self, fitting: Sequence[Kind], chosen: list[Kind], covered: set[Block], often: dict[int, int]
    ) -> list[Kind] | None:
        for kind in fitting:
            found = self._complete(*_with(kind, chosen, covered, often))
            if found is not None:
                return found
        return None

    def _tightest(
        self, chosen: Sequence[Kind], covered: set[Block], often: Mapping[int, int]
    ) -> list[Kind] | None:
        """The kinds that fit the open block with the fewest of them, best first; None when none is open."""
        best: list[Kind] | None = None
        for number in often:
            for row in range(self.heights[number]):
                if (number, row) in covered:
                    continue
                fitting = [
                    kind for kind in self.by_block[number, row] if self._fits(kind, chosen, covered, often)
                ]
                if best is None or len(fitting) < len(best):
                    best = fitting
                if len(best) < 2:
                    return best
        return None if best is None else sorted(best, key=self._next_norm)

    def _fits(
        self, kind: Kind, chosen: Sequence[Kind], covered: set[Block], often: Mapping[int, int]
    ) -> bool:
        if not self.kinds[kind] or kind in chosen:  # a kind covers its blocks, so it fits once
            return False
        return not (kind[0] & covered) and all(often.get(number, count) == count for number, count in kind[1])


def _with(
    kind: Kind, chosen: list[Kind], covered: set[Block], often: dict[int, int]
) -> tuple[list[Kind], set[Block], dict[int, int]]:
    return [*chosen, kind], covered | kind[0], {**often, **dict(kind[1])}
