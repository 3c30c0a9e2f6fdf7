"""Cells: channels of equal standing, among which importance alone decides."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .coupling import Coupling
from .ledger import FIXED, Ids


@dataclass(frozen=True)
class Cell:
    """Classes that lie on the same axes equally often, so that removing any of them changes the same sizes.

    When each cell keeps a multiple of the alignment, so does every layer made of whole cells.
    """

    classes: Ids  # (n,) in the order in which they lie on the first layer's output
    layers: tuple[int, ...]  # the layers whose outputs they are part of, by number
    step: int  # how many go or stay together, so that every layer's count is a multiple of `round_to`

    def widths(self, least: int) -> list[int]:
        """Return the numbers of channels this cell may keep, the present one first."""
        total = len(self.classes)
        aligned = range((total - 1) // self.step * self.step, 0, -self.step)
        return [total, *(width for width in aligned if width >= least)]


def find_cells(coupling: Coupling, round_to: int) -> list[Cell]:
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
    return [_cell(coupling, np.asarray(classes, np.int64), places, round_to) for classes in members.values()]


def _standing(coupling: Coupling) -> dict[int, list[tuple[int, int]]]:
    """For each class the axes it lies on, with how often."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, axis in enumerate(coupling.axes):
        for one, count in zip(*(part.tolist() for part in np.unique(axis, return_counts=True)), strict=True):
            found[one].append((number, count))
    return found


def _places(coupling: Coupling) -> dict[int, dict[int, int]]:
    """For each class the layers whose outputs it is part of, with how often, in the order of the graph."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for number, layer in enumerate(coupling.layers):
        if layer.ids is not None:
            for one in coupling.on(layer.ids).tolist():
                found[one][number] = found[one].get(number, 0) + 1
    return found


def _cell(coupling: Coupling, classes: Ids, places: dict[int, dict[int, int]], round_to: int) -> Cell:
    counts = places[int(classes[0])]
    step = math.lcm(*(round_to // math.gcd(round_to, count) for count in counts.values()))
    return Cell(classes, tuple(counts), step)
