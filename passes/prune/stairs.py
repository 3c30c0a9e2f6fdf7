"""How long a model takes as a function of the widths of its cells, from measured layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.cost import LatencyTable, LayerShape, Staircase, staircases

from .cells import Cell
from .coupling import Coupling
from .facts import Facts


@dataclass(frozen=True)
class Step:
    """A layer's staircase, and how its two widths follow those of the cells."""

    stairs: Staircase
    fixed: np.ndarray  # (2,) channels read and made when every cell is whole
    shares: np.ndarray  # (2, cells) of these that belong to each cell

    def milliseconds(self, left: np.ndarray) -> np.ndarray:
        """Time with these fractions of the cells left, (candidates, cells) -> (candidates,)."""
        widths = self.fixed[:, None] + self.shares @ (left - 1.0).T
        inputs, outputs = np.maximum(np.rint(widths), 1).astype(np.int64)
        return self.stairs(inputs, outputs)


class Stairs:
    """Time of a model's layers for any widths, as a fraction of what they take now.

    ``rest`` milliseconds go into layers that no cell makes narrower; what is no layer does not count.
    """

    def __init__(self, steps: Sequence[Step], cells: Sequence[Cell], rest: float) -> None:
        self._steps = steps
        self._full = np.asarray([len(cell.classes) for cell in cells], np.float64)
        self._rest = rest
        self._before = np.asarray([float(step.milliseconds(np.ones((1, len(cells))))[0]) for step in steps])
        self._whole = max(float(self._before.sum()) + rest, 1e-9)
        self._touched = [
            [n for n, step in enumerate(steps) if step.shares[:, cell].any()] for cell in range(len(cells))
        ]

    def of(self, widths: np.ndarray) -> float:
        """Return the fraction of the time that these widths take."""
        left = (widths / self._full)[None]
        return self._fraction(np.asarray([float(step.milliseconds(left)[0]) for step in self._steps]))

    def along(self, widths: np.ndarray, cell: int, candidates: np.ndarray) -> np.ndarray:
        """Return the fractions when one cell takes each of these widths, (candidates,)."""
        left = np.repeat((widths / self._full)[None], len(candidates), axis=0)
        present = np.asarray([float(step.milliseconds(left[:1])[0]) for step in self._steps])
        left[:, cell] = candidates / self._full[cell]
        changed = np.repeat(present[None], len(candidates), axis=0)
        for number in self._touched[cell]:
            changed[:, number] = self._steps[number].milliseconds(left)
        return np.asarray([self._fraction(times) for times in changed])

    def _fraction(self, times: np.ndarray) -> float:
        return (float(times.sum()) + self._rest) / self._whole


def measured_stairs(
    coupling: Coupling, cells: Sequence[Cell], facts: Facts, table: LatencyTable, block: int
) -> Stairs:
    """Look up or measure the staircases of the layers that cells make narrower."""
    shapes = dict(facts.shapes)
    found: list[tuple[LayerShape, np.ndarray, np.ndarray]] = []
    fixed: list[LayerShape] = []
    readers: dict[ir.Node, np.ndarray] = defaultdict(lambda: np.zeros(0, np.int64))
    for slot in coupling.slots:
        if slot.index == 1 and slot.role in ("in", "scale"):
            readers[slot.node] = coupling.on(slot.ids)
    for layer in coupling.layers:
        shape = LayerShape.of(layer.node, shapes)
        if shape is None:
            continue
        axes = (
            readers[layer.node],
            coupling.on(layer.ids) if layer.ids is not None else np.zeros(0, np.int64),
        )
        shares = np.stack([_shares(axis, cells) for axis in axes])
        if shares.any():
            found.append((shape, np.asarray([shape.inputs, shape.outputs], np.float64), shares))
        else:
            fixed.append(shape)
    stairs = staircases(table, [shape for shape, _, _ in found], block=block)
    steps = [Step(one, full, shares) for one, (_, full, shares) in zip(stairs, found, strict=True)]
    return Stairs(steps, cells, float(table.milliseconds(fixed).sum()))


def _shares(axis: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
    return np.asarray([float(np.isin(axis, cell.classes).sum()) for cell in cells])
