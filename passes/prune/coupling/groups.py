"""Cells: channels of equal standing, among which importance alone decides."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .coupling import Coupling
from .ids import FIXED, Ids


@dataclass(frozen=True)
class Group:
    """Classes that lie on the same axes equally often, so that removing any of them changes the same sizes.

    When each cell keeps a multiple of the alignment, so does every layer made of whole cells; the widest
    cell of a layer makes up for what stays beside it.
    """

    classes: Ids  # (n,) in the order in which they lie on the first layer's output
    layers: tuple[int, ...]  # the layers whose outputs they are part of, by number
    step: int  # how many go or stay together, so that every layer's count is a multiple of `round_to`
    beside: int = 0  # channels that a layer has besides and that are no multiple of the step

    def widths(self, least: int) -> list[int]:
        """Return the numbers of channels this cell may keep, the present one first."""
        total = len(self.classes)
        aligned = (width for width in range(total - 1, 0, -1) if (width + self.beside) % self.step == 0)
        return [total, *(width for width in aligned if width >= least)]


def find_cells(coupling: Coupling, round_to: int) -> list[Group]:
    """Sort the removable classes into cells."""
    standing = _standing(coupling)
    places = _places(coupling)
    members: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for one, layers in places.items():
        if (
            one != FIXED
            and one not in coupling.walls
            and any(coupling.layers[number].own for number in layers)
        ):
            members[tuple(standing[one])].append(one)
    cells = [_cell(coupling, np.asarray(classes, np.int64), places, round_to) for classes in members.values()]
    return _evened_out(coupling, cells, places)


def cell_numbers(coupling: Coupling, cells: Sequence[Group]) -> Ids:
    """Return for each class the number of its cell, -1 where it has none, (classes,)."""
    numbers = np.full(len(coupling.classes), -1, np.int64)
    for number, cell in enumerate(cells):
        numbers[cell.classes] = number
    return numbers


def _evened_out(
    coupling: Coupling, cells: Sequence[Group], places: Mapping[int, Mapping[int, int]]
) -> list[Group]:
    """Let the widest cell of a layer make up for channels that cannot be narrowed to a multiple.

    A layer between channel shuffles consists of many cells, some of a channel or two, which stay.
    """
    on: dict[int, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        if len(cell.widths(1)) > 1:
            for layer in cell.layers:
                on[layer].append(number)
    beside: dict[int, int] = {}
    for layer, numbers in sorted(on.items()):
        often = {number: places[int(cells[number].classes[0])][layer] for number in numbers}
        widest = max(numbers, key=lambda number: len(cells[number].classes))
        ids = coupling.layers[layer].ids
        if ids is not None and often[widest] == 1:
            rest = len(ids) - sum(often[number] * len(cells[number].classes) for number in numbers)
            beside.setdefault(widest, rest % cells[widest].step)
    return [replace(cell, beside=beside.get(number, 0)) for number, cell in enumerate(cells)]


def _standing(coupling: Coupling) -> dict[int, list[tuple[int, int]]]:
    """For each class the axes it lies on, with how often."""
    by_id: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, axis in enumerate(coupling.axes):
        for one, count in zip(*(part.tolist() for part in np.unique(axis, return_counts=True)), strict=True):
            by_id[one].append((number, count))
    return by_id


def _places(coupling: Coupling) -> dict[int, dict[int, int]]:
    """For each class the layers whose outputs it is part of, with how often, in the order of the graph."""
    by_id: dict[int, dict[int, int]] = defaultdict(dict)
    for number, layer in enumerate(coupling.layers):
        if layer.ids is not None:
            for one in coupling.on(layer.ids).tolist():
                by_id[one][number] = by_id[one].get(number, 0) + 1
    return by_id


def _cell(coupling: Coupling, classes: Ids, places: dict[int, dict[int, int]], round_to: int) -> Group:
    counts = places[int(classes[0])]
    step = math.lcm(*(round_to // math.gcd(round_to, count) for count in counts.values()))
    return Group(classes, tuple(counts), step)
