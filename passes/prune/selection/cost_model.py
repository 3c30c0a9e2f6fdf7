"""What a model takes up as a function of the widths of its cells: sums of products, quick to evaluate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from graphopt import ir

from ..coupling.builder import ParameterAxis
from ..coupling.coupling import Coupling
from ..coupling.groups import Group, cell_numbers
from ..coupling.ids import Ids

AXES = 2  # fixed: axes of a constant that can follow channels; more do not occur


class CostModel:
    """Multiply-accumulates, parameters or bytes of constants for any widths, as a fraction of what is there.

    Each constant that follows channels is a term: a factor times, for each such axis, the number of
    channels left on it, which is linear in the widths of the cells; so is each product of two activations.
    ``fixed`` is what never changes.
    """

    def __init__(self, coupling: Coupling, cells: Sequence[Group], goal: str, total: float) -> None:
        self._full = np.asarray([len(cell.classes) for cell in cells], np.float64)
        cell_of = cell_numbers(coupling, cells)
        positions: dict[tuple[ir.Node, int], int] = defaultdict(int)
        for layer in coupling.layers:
            positions[layer.node, layer.weight] += layer.positions
        terms = [
            ([slot.ids for slot in slots], factor)
            for slots in _constants(coupling).values()
            if (factor := _factor(slots, positions, goal))
        ]
        if goal == "macs":
            terms += _products(coupling)
        self._factors = np.asarray([factor for _, factor in terms], np.float64)  # (terms,)
        self._counts = np.ones((len(terms), AXES))
        parts: list[tuple[int, int, int, int]] = []  # term, axis, cell, how many of its channels
        for term, (axes, _) in enumerate(terms):
            for axis, ids in enumerate(axes):
                self._counts[term, axis] = len(ids)
                own = cell_of[coupling.on(ids)]
                counted = np.unique(own[own >= 0], return_counts=True)
                parts += [
                    (term, axis, *pair) for pair in zip(*(part.tolist() for part in counted), strict=True)
                ]
        table = np.asarray(parts, np.int64).reshape(-1, 4)
        self._place = table[:, 0] * AXES + table[:, 1]  # in the flat counts
        self._cell, self._share = table[:, 2], table[:, 3].astype(np.float64)
        by_cell = np.argsort(self._cell, kind="stable")
        self._parts = np.split(by_cell, np.searchsorted(self._cell[by_cell], np.arange(1, len(cells))))
        self._total = total
        self._widths = self._full.copy()  # those asked for last, with the channels left there on each axis
        self._left = self._counts.copy()  # (terms, axes)
        self._used = float((self._factors * self._counts.prod(axis=1)).sum())
        self._moves = 0  # since the sums were last made anew
        self._fixed = total - self._used

    def of(self, widths: np.ndarray) -> float:
        """Return the fraction taken up at these widths."""
        self._recompute(widths)
        return (self._fixed + self._used) / self._total

    def along(self, widths: np.ndarray, cell: int, candidates: np.ndarray) -> np.ndarray:
        """Return the fractions when one cell takes each of these widths, (candidates,).

        It costs the constants of this cell and of those whose widths have changed since the last call.
        """
        self._move_to(widths)
        terms, shares = self._terms(cell)
        left = self._left[terms]
        steps = (candidates - widths[cell]) / self._full[cell]
        moved = left + steps[:, None, None] * shares
        change = (self._factors[terms] * (moved.prod(axis=2) - left.prod(axis=1))).sum(axis=1)
        fractions: np.ndarray = (self._fixed + self._used + change) / self._total
        return fractions

    def _terms(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """The terms that a cell is part of, and how many of its channels lie on their axes, (terms, axes)."""
        parts = self._parts[cell]
        terms, rows = np.unique(self._place[parts] // AXES, return_inverse=True)
        shares = np.zeros((len(terms), AXES))
        shares[rows, self._place[parts] % AXES] = self._share[parts]
        return terms, shares

    def _move_to(self, widths: np.ndarray) -> None:
        """Let the sums follow the widths; made anew now and then, so that no rounding adds up."""
        changed = np.flatnonzero(self._widths != widths).tolist()
        self._moves += len(changed)
        if self._moves > len(self._full):
            self._recompute(widths)
            return
        for cell in changed:
            terms, shares = self._terms(cell)
            before = self._left[terms].prod(axis=1)
            self._left[terms] += shares * (widths[cell] - self._widths[cell]) / self._full[cell]
            self._used += float((self._factors[terms] * (self._left[terms].prod(axis=1) - before)).sum())
            self._widths[cell] = widths[cell]

    def _recompute(self, widths: np.ndarray) -> None:
        self._widths = np.asarray(widths, np.float64).copy()
        gone = self._share * (self._widths / self._full - 1.0)[self._cell]
        flat = np.bincount(self._place, gone, minlength=self._counts.size)
        self._left = self._counts + flat.reshape(self._counts.shape)
        self._used = float((self._factors * self._left.prod(axis=1)).sum())
        self._moves = 0


def _constants(coupling: Coupling) -> dict[tuple[ir.Node, int], list[ParameterAxis]]:
    by_constant: dict[tuple[ir.Node, int], list[ParameterAxis]] = defaultdict(list)
    for slot in coupling.slots:
        by_constant[slot.node, slot.index].append(slot)
    return by_constant


def _products(coupling: Coupling) -> list[tuple[list[Ids], float]]:
    """The channels that products of two activations follow, and what one of them takes up."""
    return [
        ([layer.follows], layer.fixed / len(layer.follows))
        for layer in coupling.layers
        if layer.follows is not None and layer.fixed
    ]


def _factor(slots: Sequence[ParameterAxis], positions: Mapping[tuple[ir.Node, int], int], goal: str) -> float:
    """What one entry along the axes that follow channels takes up."""
    node, index = slots[0].node, slots[0].index
    values = node.inputs[index].constant
    assert values is not None
    others = (size for axis, size in enumerate(values.shape) if axis not in {slot.axis for slot in slots})
    rest = math.prod(others) / math.prod(slot.groups for slot in slots)  # axes count all groups' channels
    if goal == "macs":
        return float(rest * positions.get((node, index), 0))
    readers = len(node.inputs[index].consumers)  # a shared constant counts once
    return rest * (values.itemsize if goal == "bytes" else 1) / max(readers, 1)
