"""Which channels of different blocks go together, where blocks must stay equally wide.

All groups of a grouped convolution have to lose equally many channels, but each may lose its own.  So the
least important removable channel of one group is bundled with the least important one of every other group,
then the second least, and so on; a bundle is tied into one class and goes or stays as a whole.  A channel may
lie in blocks of several layers at once (group k of the layer that makes it, group t of the layer behind a
channel shuffle that reads it): a bundle takes equally many channels from every block of every layer that it
touches, if possible one.  That is an exact cover, found by search (for two layers it is a perfect matching of
their groups, which exists as long as all blocks are equally wide: D. Konig, 1916).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.passes.prune.coupling.ids import Decision

from .ids import FIXED, Balance, ChannelIds, Ids
from .parameter_axes import ParameterAxis

EFFORT = 2_000  # time: steps of the search for one bundle; more is not worth a channel
LIMITS = (0, 2, 4, 8)  # time: how often a block may be covered: once if that is possible

Block = tuple[int, int]  # number of the balance, number of the block in it
Kind = tuple[frozenset[Block], tuple[tuple[int, int], ...]]  # blocks, and how often in those of each balance


def bundle(ledger: ChannelIds, balances: Sequence[Balance], slots: Iterable[ParameterAxis]) -> list[Decision]:
    """Decide which classes go together, so that removing any leaves the blocks of every balance equally wide.

    Channels that find no partners have to stay.  The choice of partners depends on the weights alone.
    """
    distinct = _distinct(ledger, balances)
    if not distinct:
        return []
    reasons = [reason for _, reason in distinct]
    decisions: list[Decision] = []
    kinds = _kinds(ledger, [table for table, _ in distinct], reasons, decisions)
    heights, norms = [len(table) for table, _ in distinct], _norms(ledger, slots) if kinds else {}
    for part in _components(kinds):
        decisions += _Search(part, heights, norms).run(reasons)
    return decisions


def carry_out(ledger: ChannelIds, decisions: Iterable[Decision]) -> None:
    """Tie and pin what was decided."""
    for decision in decisions:
        if decision.stay:
            ledger.pin(decision.classes, decision.reason)
        else:
            first = np.full(len(decision.classes) - 1, decision.classes[0], np.int64)
            ledger.tie(first, decision.classes[1:], decision.reason)


def _distinct(ledger: ChannelIds, balances: Sequence[Balance]) -> list[tuple[Ids, str]]:
    """The balances in terms of classes, each set of blocks once."""
    distinct: dict[tuple[bytes, ...], tuple[Ids, str]] = {}
    for balance in balances:
        table = np.sort(ledger.canonical(balance.blocks), axis=1)
        key = tuple(sorted(row.tobytes() for row in table))
        distinct.setdefault(key, (table, balance.reason))
    return list(distinct.values())


def _kinds(
    ledger: ChannelIds, tables: Sequence[Ids], reasons: Sequence[str], decisions: list[Decision]
) -> dict[Kind, list[int]]:
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
                why = f"{reasons[number]}, and hold different numbers of them"
                decisions.append(Decision(np.asarray([one]), why, stay=True))
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


def _norms(ledger: ChannelIds, slots: Iterable[ParameterAxis]) -> Mapping[int, float]:
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


@dataclass(frozen=True)
class _Cover:
    """Kinds taken so far, how often each block is covered, and how often it has to be, by balance."""

    taken: tuple[Kind, ...]
    counts: Mapping[Block, int]
    needs: Mapping[int, int]

    def plus(self, kind: Kind) -> _Cover:
        """Return the cover with one more channel of a kind."""
        counts, often = dict(self.counts), dict(kind[1])
        for block in kind[0]:
            counts[block] = counts.get(block, 0) + often[block[0]]
        needs = dict(self.needs)
        for number, row in kind[0]:
            needs[number] = max(needs.get(number, 0), counts[number, row])
        return _Cover((*self.taken, kind), counts, needs)

    def raised_by(self, kind: Kind, limit: int) -> bool | None:
        """Whether a kind covers a block more often than needed; None when more often than ``limit``."""
        often, raised = dict(kind[1]), False
        for block in kind[0]:
            count = self.counts.get(block, 0) + often[block[0]]
            need = self.needs.get(block[0], often[block[0]])
            if count > max(need, limit):
                return None
            raised |= count > need
        return raised


class _Search:
    """Finds bundles, the least important channels first."""

    def __init__(
        self,
        kinds: dict[Kind, list[int]],
        heights: Sequence[int],
        norms: Mapping[int, float],
    ) -> None:
        self._kinds = kinds  # the removable classes of each kind
        self._heights = heights  # how many blocks each balance has
        self._norms = norms
        self._effort = 0
        self._by_block: dict[Block, list[Kind]] = defaultdict(list)
        for kind, classes in kinds.items():
            classes.sort(key=lambda one: (-norms.get(one, 0.0), one))  # the next one is the last
            for block in kind[0]:
                self._by_block[block].append(kind)

    def run(self, reasons: Sequence[str]) -> Iterator[Decision]:
        """Yield bundles of everything that can be bundled, and a wall for the rest."""
        wide: dict[Kind, tuple[Kind, ...]] = {}  # covers that took long to find
        while any(self._kinds.values()):
            start = min((kind for kind, left in self._kinds.items() if left), key=self._next_norm)
            reason = reasons[start[1][0][0]]
            cover = wide.get(start)
            if cover is None or not self._has(cover):
                cover, limit = self._cover(start)
                if cover is not None and limit:
                    wide[start] = cover
            if cover is None:
                left, self._kinds[start] = np.asarray(self._kinds[start], np.int64), []
                yield Decision(left, f"{reason}, and the others have none to spare", stay=True)
            else:
                yield Decision(np.asarray([self._kinds[kind].pop() for kind in cover], np.int64), reason)

    def _cover(self, start: Kind) -> tuple[tuple[Kind, ...] | None, int]:
        """The kinds of a bundle that begins with ``start``, and the limit at which they were found."""
        for limit in LIMITS:
            self._effort = EFFORT
            cover = self._complete(_Cover((), {}, {}).plus(start), limit)
            if cover is not None:
                return cover.taken, limit
        return None, 0

    def _has(self, kinds: Sequence[Kind]) -> bool:
        return all(len(self._kinds[kind]) >= count for kind, count in Counter(kinds).items())

    def _next_norm(self, kind: Kind) -> tuple[float, int]:
        one = self._kinds[kind][-1]
        return self._norms.get(one, 0.0), one

    def _complete(self, cover: _Cover, limit: int) -> _Cover | None:
        """Add kinds until the blocks of every balance touched are covered equally often."""
        while (fitting := self._tightest(cover, limit)) is not None:
            self._effort -= 1
            if self._effort < 0 or not fitting:
                return None
            if len(fitting) > 1:
                tries = (self._complete(cover.plus(kind), limit) for kind in fitting)
                return next((closed for closed in tries if closed is not None), None)
            cover = cover.plus(fitting[0])
        return cover

    def _tightest(self, cover: _Cover, limit: int) -> list[Kind] | None:
        """The kinds for the open block that the fewest fit, best first; None when no block is open."""
        best: list[Kind] | None = None
        used = Counter(cover.taken)
        for number, need in cover.needs.items():
            for row in range(self._heights[number]):
                if cover.counts.get((number, row), 0) >= need:
                    continue
                fitting = self._fitting((number, row), cover, used, limit)
                if best is None or len(fitting) < len(best):
                    best = fitting
                if len(best) < 2:
                    return best
        return best

    def _fitting(self, block: Block, cover: _Cover, used: Mapping[Kind, int], limit: int) -> list[Kind]:
        raised = {
            kind: raises
            for kind in self._by_block[block]
            if len(self._kinds[kind]) > used.get(kind, 0)
            and (raises := cover.raised_by(kind, limit)) is not None
        }
        return sorted(raised, key=lambda kind: (raised[kind], self._next_norm(kind)))
