"""Blocks of a network by the prefixes of its layers' names, which fold into one node each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from graphopt.report.html.rows import EQUAL, error_class

FEWEST, MOST = 3, 60  # shown: blocks that are worth folding into, and that can be taken in
DEEPEST = 6  # parts of a name that are looked at
LETTERS = 19  # of a block's name in its node

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """Layers that fold together: the prefix they share and their places in the list of rows."""

    name: str
    members: tuple[int, ...]


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Blocks in an order in which each comes after those it reads; empty where names have no such prefixes.

    Every row is in one block.  ``reads`` of a row are places of rows before it.  Of the depths at which names
    can be cut the least counts that gives ``FEWEST`` blocks.  Blocks that read each other in a circle are cut
    into runs of neighbours, which cannot.
    """
    parts = [_parts(str(row["name"])) for row in rows]
    for depth in range(1, DEEPEST):
        keys = ["/".join(part[:depth]) for part in parts]
        if len(set(keys)) >= FEWEST and max(Counter(keys).values(), default=0) > 1:
            made = _ordered(_without_circles(keys, rows), rows)
            return made if FEWEST <= len(made) <= max(MOST, len(rows) // 8) else []
    return []


def _parts(name: str) -> list[str]:
    """The parts of a name before its last: what exporters call modules."""
    separator = "/" if "/" in name else "."
    return [part for part in name.split(separator) if part][:-1] or [""]


def _edges(owner: Sequence[int], rows: Sequence[Row]) -> set[tuple[int, int]]:
    return {(owner[j], owner[i]) for i, row in enumerate(rows) for j in row["reads"] if owner[j] != owner[i]}


def _without_circles(keys: Sequence[str], rows: Sequence[Row]) -> list[tuple[str, int]]:
    """A key a row that never leads back: that of its block, or of its run where blocks read each other."""
    names = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    graph = nx.DiGraph(_edges([names[key] for key in keys], rows))
    circular = {one for part in nx.strongly_connected_components(graph) if len(part) > 1 for one in part}
    made: list[tuple[str, int]] = []
    run = 0
    for place, key in enumerate(keys):
        run += bool(place) and key != keys[place - 1]
        made.append((key, run if names[key] in circular or not key else -1))
    return made


def _ordered(keys: Sequence[tuple[str, int]], rows: Sequence[Row]) -> list[Block]:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(numbers)))
    graph.add_edges_from(_edges([numbers[key] for key in keys], rows))
    members: list[list[int]] = [[] for _ in numbers]
    for place, key in enumerate(keys):
        members[numbers[key]].append(place)
    named = list(numbers)
    return [
        Block(named[number][0], tuple(members[number]))
        for number in nx.lexicographical_topological_sort(graph, key=lambda one: members[one][0])
    ]


class Folding:
    """The rows of a model as its blocks: all of them folded, or one of them open between its neighbours."""

    def __init__(self, made: Sequence[Block], rows: Sequence[Row]) -> None:
        self.blocks = made
        self._rows = rows
        self._owner = {place: number for number, block in enumerate(made) for place in block.members}
        self._reads: list[set[int]] = [set() for _ in made]
        for place, row in enumerate(rows):
            own = self._owner[place]
            self._reads[own] |= {self._owner[j] for j in row["reads"] if self._owner[j] != own}
        whole = sum(_work(row) for row in rows) or 1.0
        self.folded = [
            _folded(number, block, [rows[place] for place in block.members], sorted(reads), whole)
            for number, (block, reads) in enumerate(zip(made, self._reads, strict=True))
        ]

    def opened(self, number: int) -> list[dict[str, Any]]:
        """The rows of one block, between the blocks that it reads and those that read it, these folded."""
        own, before = set(self.blocks[number].members), sorted(self._reads[number])
        shown: list[dict[str, Any]] = [{**self.folded[other], "reads": []} for other in before]
        places: dict[int, int] = {}
        for place in sorted(own):
            reads = self._rows[place]["reads"]
            sources = {places[j] if j in own else before.index(self._owner[j]) for j in reads}
            places[place] = len(shown)
            shown.append({**self._rows[place], "reads": sorted(sources)})
        for other, sources in enumerate(self._reads):
            if number in sources:
                members = self.blocks[other].members
                read = {places[j] for place in members for j in self._rows[place]["reads"] if j in own}
                shown.append({**self.folded[other], "reads": sorted(read)})
        return shown


def _folded(
    number: int, block: Block, members: Sequence[Row], reads: list[int], whole: float
) -> dict[str, Any]:
    if len(members) == 1:
        return {**members[0], "reads": reads}
    ratios = [row["snr"] for row in members if row.get("snr") is not None]
    share = 100 * sum(_work(row) for row in members) / whole
    styles = Counter(row["style"] for row in members if row["style"] not in ("plain", "gone", "ph", "skip"))
    return {
        "number": f"b{number}",
        "name": f"{block.name or 'other layers'}: {len(members)} layers",
        "op": _short(block.name),
        "sub": f"{len(members)} layers" + (f" · {share:.0f} % of MACs" if share >= 0.5 else ""),
        "style": f"{styles.most_common(1)[0][0] if styles else 'plain'} block",
        "error": error_class(min(ratios)) if ratios and min(ratios) < EQUAL else "e0" if ratios else "",
        "reads": reads,
        "matters": True,
    }


def _work(row: Row) -> float:
    macs = row.get("macs")
    return float((macs[0] if isinstance(macs, (list, tuple)) else macs) or 0)


def _short(name: str) -> str:
    name = name or "other layers"
    return name if len(name) <= LETTERS else f"…{name[1 - LETTERS :]}"
