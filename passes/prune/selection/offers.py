"""What ``prune`` offers to a search over all passes: each group of channels at a few widths.

What a width costs is what its readers lose (see ``importance.obs``), what it saves follows from the layers
that get narrower.  A chosen set of widths is planned as any other: channels that one layer reads are chosen
when its turn comes, and all layers are fitted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt.pipeline.contract.moves import Effect, Move

from ..coupling.coupling import Coupling
from ..coupling.groups import Group, cell_numbers
from ..plan import group_name
from .choice import Choice

if TYPE_CHECKING:
    from graphopt import ir

LEVELS = 16  # time: widths of a group that are offered at most
ALIGNED = 4  # fixed: where time is not what counts, multiples of so many channels keep fast kernels possible


def offered_block(block: int, saves: str, round_to: int | None) -> int:
    """Multiples of how many channels are offered, where ``block`` is what the target computes at a time.

    What saves time has to save whole blocks.  What counts is saved channel by channel, and whole blocks would
    cost narrow networks much for nothing.
    """
    if round_to is not None or saves == "latency":
        return block
    return min(block, ALIGNED)


def moves(choice: Choice) -> Iterator[Move]:
    """The widths of every group as moves, the widest first; ``what`` is the number of the group."""
    effects = _Effects(choice.coupling, choice.cells)
    names = _names(choice)
    for number, (ranking, allowed) in enumerate(zip(choice.rankings, choice.allowed, strict=True)):
        total = len(ranking.order)
        for width in _spread(allowed):
            yield Move(
                names[number],
                "group",
                width / total,
                float(ranking.costs[total - width]),
                effects.of(number, total - width),
                what=(number, width),
            )


def chosen_widths(choice: Choice, taken: Sequence[Move]) -> np.ndarray:
    """The width of every group when these moves are taken, (groups,)."""
    found = np.asarray([allowed[0] for allowed in choice.allowed], np.int64)
    for move in taken:
        number, width = move.what
        found[number] = width
    return found


def translated(choice: Choice, taken: Sequence[Move]) -> np.ndarray:
    """The same for another version of the model, whose groups are found by name; their widths are fractions.

    A group that the model no longer has keeps its channels.
    """
    found = np.asarray([allowed[0] for allowed in choice.allowed], np.int64)
    levels = {move.item: move.level for move in taken}
    for number, name in enumerate(_names(choice)):
        allowed = choice.allowed[number]
        wanted = levels.get(name, 1.0) * len(choice.rankings[number].order)
        found[number] = min(allowed, key=lambda width: (abs(width - wanted), -width))
    return found


def _names(choice: Choice) -> list[str]:
    """Groups by the first layer that makes their channels; where several share one, they are numbered."""
    seen: dict[str, int] = defaultdict(int)
    names = []
    for ranking in choice.rankings:
        name = group_name(choice.coupling, ranking.cell)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _spread(allowed: Sequence[int]) -> list[int]:
    """The widths below the present one, at most ``LEVELS``, evenly spread and always the least."""
    fewer = list(allowed[1:])
    if len(fewer) <= LEVELS:
        return fewer
    places = np.unique(np.rint(np.linspace(0, len(fewer) - 1, LEVELS)).astype(int))
    return [fewer[place] for place in places.tolist()]


class _Effects:
    """Which layers get how much narrower with each group."""

    def __init__(self, coupling: Coupling, cells: Sequence[Group]) -> None:
        numbers = cell_numbers(coupling, cells)
        self._sizes = [len(cell.classes) for cell in cells]
        self._sides: list[dict[str, list[int]]] = [defaultdict(lambda: [0, 0]) for _ in cells]
        for side, node, ids in _axes(coupling):
            own = numbers[coupling.on(ids)]
            for number, count in zip(*np.unique(own[own >= 0], return_counts=True), strict=True):
                self._sides[int(number)][node.output.name][side] += int(count)

    def of(self, number: int, gone: int) -> tuple[Effect, ...]:
        """The effects when ``gone`` channels of a group go."""
        size = self._sizes[number]
        return tuple(
            Effect(name, inputs=inputs * gone // size, outputs=outputs * gone // size)
            for name, (inputs, outputs) in self._sides[number].items()
        )


def _axes(coupling: Coupling) -> Iterator[tuple[int, ir.Node, np.ndarray]]:
    """What every layer reads (side 0) and makes (side 1)."""
    readers = {}
    for slot in coupling.slots:
        if slot.index == 1 and slot.role in ("in", "scale"):
            readers[slot.node] = slot.ids
    for layer in coupling.layers:
        if layer.node in readers:
            yield 0, layer.node, readers[layer.node]
        if layer.ids is not None:
            yield 1, layer.node, layer.ids
