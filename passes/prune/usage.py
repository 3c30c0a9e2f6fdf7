"""What a model takes up as a function of the widths of its cells: sums of products, quick to evaluate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from graphopt import ir

from .cells import Cell
from .coupling import Coupling
from .walk import Slot

AXES = 2  # of a constant that can follow channels; more do not occur


class Usage:
    """Multiply-accumulates, parameters or bytes of constants for any widths, as a fraction of what is there.

    Each constant that follows channels is a term: a factor times, for each such axis, the number of
    channels left on it, which is linear in the widths of the cells.  ``fixed`` is what never changes.
    """

    def __init__(self, coupling: Coupling, cells: Sequence[Cell], goal: str, total: float) -> None:
        self._full = np.asarray([len(cell.classes) for cell in cells], np.float64)
        cell_of = np.full(len(coupling.classes), -1, np.int64)
        for number, cell in enumerate(cells):
            cell_of[cell.classes] = number
        factors, counts, shares = [], [], []
        for slots in _constants(coupling).values():
            factor = _factor(slots, coupling, goal)
            if factor:
                factors.append(factor)
                on = [cell_of[coupling.on(slot.ids)] for slot in slots]
                counts.append([float(len(axis)) for axis in on] + [1.0] * (AXES - len(on)))
                shares.append(
                    [_shares(axis, cells) for axis in on] + [np.zeros(len(cells))] * (AXES - len(on))
                )
        self._factors = np.asarray(factors, np.float64)  # (terms,)
        self._counts = np.asarray(counts, np.float64).reshape(len(factors), AXES)
        self._shares = np.asarray(shares, np.float64).reshape(
            len(factors), AXES, len(cells)
        )  # channels on an axis
        self._touched = [np.flatnonzero(self._shares[:, :, c].any(axis=1)) for c in range(len(cells))]
        self._total = total
        self._fixed = total - float((self._factors * self._counts.prod(axis=1)).sum())

    def of(self, widths: np.ndarray) -> float:
        """Return the fraction taken up at these widths."""
        left = self._counts + self._shares @ (widths / self._full - 1.0)
        return (self._fixed + float((self._factors * left.prod(axis=1)).sum())) / self._total

    def along(self, widths: np.ndarray, cell: int, candidates: np.ndarray) -> np.ndarray:
        """Return the fractions when one cell takes each of these widths, (candidates,)."""
        terms = self._touched[cell]
        shares, factors = self._shares[terms], self._factors[terms]
        left = self._counts[terms] + shares @ (widths / self._full - 1.0)
        steps = (candidates - widths[cell]) / self._full[cell]
        moved = left + steps[:, None, None] * shares[:, :, cell]
        change = (factors * (moved.prod(axis=2) - left.prod(axis=1))).sum(axis=1)
        fractions: np.ndarray = self.of(widths) + change / self._total
        return fractions


def _constants(coupling: Coupling) -> dict[tuple[ir.Node, int], list[Slot]]:
    found: dict[tuple[ir.Node, int], list[Slot]] = defaultdict(list)
    for slot in coupling.slots:
        found[slot.node, slot.index].append(slot)
    return found


def _factor(slots: Sequence[Slot], coupling: Coupling, goal: str) -> float:
    """What one entry along the axes that follow channels takes up."""
    node, index = slots[0].node, slots[0].index
    values = node.inputs[index].constant
    assert values is not None
    others = (size for axis, size in enumerate(values.shape) if axis not in {slot.axis for slot in slots})
    rest = math.prod(others) / math.prod(slot.groups for slot in slots)  # axes count all groups' channels
    if goal == "macs":
        layers = (layer for layer in coupling.layers if layer.node is node and layer.weight == index)
        return float(rest * sum(layer.positions for layer in layers))
    readers = len(node.inputs[index].consumers)  # a shared constant counts once
    return rest * (values.itemsize if goal == "bytes" else 1) / max(readers, 1)


def _shares(axis: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
    """How many entries of an axis belong to each cell; ``axis`` holds the cell of each entry, -1 for none."""
    return np.bincount(axis[axis >= 0], minlength=len(cells)).astype(np.float64)
