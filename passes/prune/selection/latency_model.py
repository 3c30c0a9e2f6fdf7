"""How long a model takes as a function of the widths of its cells, from measured layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.cost import LatencySurface, LatencyTable, LayerShape, latency_surfaces

from ..coupling.coupling import Coupling
from ..coupling.facts import Facts
from ..coupling.groups import Group, cell_numbers


@dataclass(frozen=True)
class Step:
    """A layer's staircase, and how its two widths follow those of the cells that it reads and makes."""

    stairs: LatencySurface
    fixed: np.ndarray  # (2,) channels read and made when every cell is whole
    cells: np.ndarray  # (n,) numbers of the cells
    shares: np.ndarray  # (2, n) of these channels that belong to each cell

    def milliseconds(self, left: np.ndarray) -> np.ndarray:
        """Time with these fractions of its cells left, (candidates, n) -> (candidates,)."""
        widths = self.fixed[:, None] + self.shares @ (left - 1.0).T
        inputs, outputs = np.maximum(np.rint(widths), 1).astype(np.int64)
        return self.stairs(inputs, outputs)


class Stairs:
    """Time of a model's layers for any widths, as a fraction of what they take now.

    ``rest`` milliseconds go into layers that no cell makes narrower; what is no layer does not count.  The
    times at the widths that were asked for last are kept, so that moving one cell costs its own layers only.
    """

    def __init__(self, steps: Sequence[Step], cells: Sequence[Group], rest: float) -> None:
        self._steps = steps
        self._full = np.asarray([len(cell.classes) for cell in cells], np.float64)
        self._rest = rest
        self._touched: list[list[int]] = [[] for _ in cells]
        for number, step in enumerate(steps):
            for cell in step.cells.tolist():
                self._touched[cell].append(number)
        self._widths = self._full.copy()  # and the times at these
        self._times = np.asarray([self._time(number) for number in range(len(steps))], np.float64)
        self._whole = max(float(self._times.sum()) + rest, 1e-9)

    def of(self, widths: np.ndarray) -> float:
        """Return the fraction of the time that these widths take."""
        self._move_to(widths)
        return (float(self._times.sum()) + self._rest) / self._whole

    def along(self, widths: np.ndarray, cell: int, candidates: np.ndarray) -> np.ndarray:
        """Return the fractions when one cell takes each of these widths, (candidates,)."""
        total = np.full(len(candidates), self.of(widths) * self._whole)
        for number in self._touched[cell]:
            step = self._steps[number]
            left = np.repeat((self._widths / self._full)[None, step.cells], len(candidates), axis=0)
            left[:, step.cells == cell] = (candidates / self._full[cell])[:, None]
            total += step.milliseconds(left) - self._times[number]
        fractions: np.ndarray = total / self._whole
        return fractions

    def _move_to(self, widths: np.ndarray) -> None:
        changed = np.flatnonzero(self._widths != widths)
        self._widths[changed] = widths[changed]
        for number in {number for cell in changed.tolist() for number in self._touched[cell]}:
            self._times[number] = self._time(number)

    def _time(self, number: int) -> float:
        step = self._steps[number]
        left = self._widths[step.cells] / self._full[step.cells]
        return float(step.milliseconds(left[None])[0])


def measured_stairs(
    coupling: Coupling, cells: Sequence[Group], facts: Facts, table: LatencyTable, block: int
) -> Stairs:
    """Look up or measure the staircases of the layers that cells make narrower."""
    numbers = cell_numbers(coupling, cells)
    steps: list[tuple[LayerShape, np.ndarray, np.ndarray]] = []
    fixed: list[LayerShape] = []
    readers: dict[ir.Node, np.ndarray] = {}
    nothing = np.zeros(0, np.int64)
    for slot in coupling.slots:
        if slot.index == 1 and slot.role in ("in", "scale"):
            readers[slot.node] = coupling.on(slot.ids)
    for layer in coupling.layers:
        shape = LayerShape.of(layer.node, facts.shapes)
        if shape is None:
            continue
        made = nothing if layer.ids is None else coupling.on(layer.ids)
        touched, shares = _shares(numbers, readers.get(layer.node, nothing), made)
        if len(touched):
            steps.append((shape, touched, shares))
        else:
            fixed.append(shape)
    stairs = latency_surfaces(table, [shape for shape, _, _ in steps], block=block)
    made_of = [
        Step(one, np.asarray([shape.inputs, shape.outputs], np.float64), touched, shares)
        for one, (shape, touched, shares) in zip(stairs, steps, strict=True)
    ]
    return Stairs(made_of, cells, float(table.milliseconds(fixed).sum()))


def _shares(numbers: np.ndarray, read: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that lie on either axis, and how many channels of each there are, (n,) and (2, n)."""
    axes = [numbers[axis] for axis in (read, made)]
    axes = [axis[axis >= 0] for axis in axes]
    touched, places = np.unique(np.concatenate(axes), return_inverse=True)
    shares = np.zeros((2, len(touched)))
    np.add.at(shares, (np.repeat([0, 1], [len(axis) for axis in axes]), places), 1.0)
    return touched, shares
