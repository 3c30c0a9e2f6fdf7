"""Lays out a graph of layers: ranks from top to bottom, tall graphs wrapped into columns.

After Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures" (1981):
longest-path ranks, edges cut at every rank, barycentre ordering, then positions by isotonic regression
(each rank in its order, at least a distance apart, as near to its neighbours as that allows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 6
DISTANCE = 1.0  # between neighbours of a rank, in widths of a node
HEAVY = 20.0  # how much less a node gives way than an edge that passes
SLIM = 0.25  # what an edge that passes a rank takes of that
LONGEST_WALK = 60_000  # points in all long edges; above that they are drawn straight


@dataclass
class Layout:
    """Where nodes stand: ``x`` in node widths, ``rank`` from the top; ``routes`` are the points of edges."""

    x: list[float]
    rank: list[int]
    routes: dict[tuple[int, int], list[tuple[float, int]]]


@dataclass
class _Work:
    """Nodes and the points of long edges together; the first ``count`` of them are nodes."""

    count: int
    rank: list[int]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    chains: dict[tuple[int, int], list[int]] = field(default_factory=dict)


def lay_out(reads: Sequence[Sequence[int]]) -> Layout:
    """Place nodes; ``reads[i]`` are the nodes that node ``i`` reads, all before ``i``."""
    rank = _ranks(reads)
    work = _cut_edges(reads, rank)
    rows = _rows(work)
    for sweep in range(SWEEPS):
        _order(rows, work, down=sweep % 2 == 0)
    x = _positions(rows, work)
    routes = {edge: [(x[point], work.rank[point]) for point in chain] for edge, chain in work.chains.items()}
    return Layout(x[: work.count], rank, routes)


def condense(reads: Sequence[Sequence[int]], kept: Sequence[bool], most: int = 8) -> list[list[int]]:
    """What each kept node reads through nodes that are not kept; at most so many sources are followed.

    The result numbers the kept nodes alone, in order.
    """
    number = {old: new for new, old in enumerate(i for i, keep in enumerate(kept) if keep)}
    sources: list[list[int]] = []
    for sees in reads:
        reached = [s for i in sees for s in ([i] if kept[i] else sources[i])]
        sources.append(list(dict.fromkeys(reached))[:most])
    return [[number[s] for s in sources[i]] for i in number]


def _ranks(reads: Sequence[Sequence[int]]) -> list[int]:
    """One below the lowest node read, then as far down as readers allow: what is read late stands late."""
    rank: list[int] = []
    for sees in reads:
        rank.append(max((rank[i] for i in sees), default=-1) + 1)
    highest_reader: dict[int, int] = {}
    for i in reversed(range(len(reads))):
        rank[i] = highest_reader.get(i, rank[i] + 1) - 1
        for j in reads[i]:
            highest_reader[j] = min(highest_reader.get(j, rank[i]), rank[i])
    first = min(rank, default=0)
    return [one - first for one in rank]


def _cut_edges(reads: Sequence[Sequence[int]], rank: list[int]) -> _Work:
    work = _Work(len(reads), list(rank), [[] for _ in reads], [[] for _ in reads])
    edges = [(j, i) for i, sees in enumerate(reads) for j in dict.fromkeys(sees)]
    straight = sum(rank[i] - rank[j] for j, i in edges) > LONGEST_WALK
    for j, i in edges:
        chain = [j]
        for between in () if straight else range(rank[j] + 1, rank[i]):
            work.rank.append(between)
            work.above.append([])
            work.below.append([])
            chain.append(len(work.rank) - 1)
        chain.append(i)
        for upper, lower in pairwise(chain):
            work.below[upper].append(lower)
            work.above[lower].append(upper)
        work.chains[j, i] = chain
    return work


def _rows(work: _Work) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(work.rank, default=-1) + 1)]
    for point, rank in enumerate(work.rank):
        rows[rank].append(point)
    return rows


def _order(rows: list[list[int]], work: _Work, *, down: bool) -> None:
    """Sort each rank by the mean place of what it is tied to in the rank before."""
    ties = work.above if down else work.below
    place = {point: float(i) for row in rows for i, point in enumerate(row)}
    for row in rows if down else reversed(rows):
        mean = {p: sum(place[q] for q in ties[p]) / len(ties[p]) if ties[p] else place[p] for p in row}
        row.sort(key=mean.__getitem__)
        for i, point in enumerate(row):
            place[point] = float(i)


def _positions(rows: list[list[int]], work: _Work) -> list[float]:
    """Up the ranks each point over what reads it, then down under what it reads: chains end up straight."""
    x = [0.0] * len(work.rank)
    for row in rows:
        _settle(row, [0.0] * len(row), x, work.count)
    for sweep in range(2 * SWEEPS):
        ties = work.below if sweep % 2 == 0 else work.above
        for row in reversed(rows) if sweep % 2 == 0 else rows:
            _settle(row, [_wish(point, ties[point], x, work.count) for point in row], x, work.count)
    return x


def _wish(point: int, ties: Sequence[int], x: Sequence[float], nodes: int) -> float:
    """The mean place of what a point is tied to: nodes follow nodes and edges edges, where they can."""
    alike = [other for other in ties if (point < nodes) == (other < nodes)] or ties
    return sum(x[other] for other in alike) / len(alike) if alike else x[point]


def _settle(row: Sequence[int], wished: Sequence[float], x: list[float], nodes: int) -> None:
    """Move a rank to the nearest places to the wished ones, in this order and apart: isotonic regression."""
    offsets, at = [], 0.0
    for i, point in enumerate(row):
        half = (DISTANCE if point < nodes else SLIM) / 2
        at += half if i else 0.0
        offsets.append(at)
        at += half
    pools: list[tuple[float, float, int]] = []  # (mean, weight, size), means never falling
    for point, wish, offset in zip(row, wished, offsets, strict=True):
        mean, weight, size = wish - offset, HEAVY if point < nodes else 1.0, 1
        while pools and pools[-1][0] > mean:
            before, more, count = pools.pop()
            mean = (before * more + mean * weight) / (more + weight)
            weight, size = weight + more, size + count
        pools.append((mean, weight, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    for point, mean, offset in zip(row, means, offsets, strict=True):
        x[point] = mean + offset
