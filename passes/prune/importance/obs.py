"""Rank channels by how much worse the layers that read them get, after the best repair (group OBS).

For each layer that reads a cell the Gram matrix of its input says what every choice of channels costs; see
``graphopt.solve``.  Costs are relative to the variance of what the layer goes into, the residual sum where
there is one.  Over the layers that read the same channels they add up to the group score of OBSPA (X. Wang et
al., 2024), though to more than their sum, see ``removal_curve``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.solve import SAMPLES, Elimination, removal_curve, shrunk

from ..attention.price import RankCosts
from ..coupling.coupling import Coupling
from ..coupling.groups import Group, cell_numbers
from ..coupling.ids import Ids
from .consumers import Reader, find_readers
from .ranking import Ranking

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


class InputByInput:
    """What leaving out inputs costs when nothing is known of how they go together: no repair."""

    def __init__(self, squares: np.ndarray, weights: np.ndarray) -> None:
        self._costs = squares * np.square(weights).sum(axis=2)  # (groups, n)

    def costs(self, blocks: np.ndarray, group: int = 0) -> np.ndarray:
        """Return what each row of ``blocks`` costs."""
        return np.asarray(self._costs[group][blocks].sum(axis=1))

    def remove(self, inputs: np.ndarray, group: int = 0) -> float:
        """Return what these inputs cost."""
        return float(self._costs[group][inputs].sum())


def obs_rankings(
    model: ir.Model,
    coupling: Coupling,
    cells: Sequence[Group],
    dead: Ids,
    samples: Samples,
    ctx: Context,
    ranks: Sequence[RankCosts] = (),
) -> list[Ranking]:
    """Rank the channels of each cell; classes in ``dead`` go first.

    ``ranks`` price queries and keys, which no layer reads, in the order in which they go.
    """
    if not cells:
        return []
    readers = find_readers(model, coupling, samples.take(SAMPLES), ctx)
    _warn_of_few(readers, ctx)
    pairs = list(zip(cells, readers_by_cell(coupling, cells, readers), strict=True))
    weighed = ctx.progress("prune: scoring channels", pairs, len(pairs))
    priced = {frozenset(one.order.tolist()): one for one in ranks}
    return [
        rank(coupling, cell, reading, dead)
        if (of := priced.get(frozenset(cell.classes.tolist()))) is None
        else in_order(coupling, cell, reading, of)
        for cell, reading in weighed
    ]


def in_order(coupling: Coupling, cell: Group, readers: Sequence[Reader], ranks: RankCosts) -> Ranking:
    """Let the channels of a cell go in a given order: what that costs attention, and layers that read it."""
    place = {one: number for number, one in enumerate(cell.classes.tolist())}
    costs = ranks.costs.copy()
    for reader in readers:
        eliminator, lost = _eliminator(reader), [0.0]
        places = reader.places(coupling, cell)
        for one in ranks.order.tolist():
            lost.append(sum(eliminator.remove(inputs[place[one]], group) for group, inputs in places))
        costs += reader.scale * np.cumsum(lost)
    return Ranking(cell, ranks.order, costs)


def readers_by_cell(
    coupling: Coupling, cells: Sequence[Group], readers: Sequence[Reader]
) -> list[list[Reader]]:
    """Return for each cell the layers that read any of its channels, in their order."""
    numbers = cell_numbers(coupling, cells)
    reading: list[list[Reader]] = [[] for _ in cells]
    for reader in readers:
        for number in np.unique(numbers[coupling.on(reader.slot.ids)]).tolist():
            if number >= 0:
                reading[number].append(reader)
    return reading


def _warn_of_few(readers: Sequence[Reader], ctx: Context) -> None:
    """Say when the samples give a layer fewer rows than it has inputs: its Gram matrix is held, not known."""
    shapes = [(reader.rows, reader.gram.shape[1]) for reader in readers if reader.gram.ndim == 3]
    few = [(rows, inputs) for rows, inputs in shapes if rows < inputs]
    if few:
        rows, inputs = max(few, key=lambda pair: pair[1] / max(pair[0], 1))
        ctx.warn(
            f"the calibration samples are too few for {len(few)} of {len(shapes)} layers (one has {inputs} "
            f"inputs and {rows} rows to tell them apart): their channels are weighed one by one, and more "
            "samples would help"
        )


def rank(coupling: Coupling, cell: Group, readers: Sequence[Reader], dead: Ids) -> Ranking:
    """Rank the channels of one cell by what the layers that read it lose."""
    placed = [(reader, places) for reader in readers if (places := reader.places(coupling, cell))]
    used = [(_eliminator(reader), places, reader.scale) for reader, places in placed]
    targets = [reader.goes_into for reader, _ in placed]
    order, costs = removal_curve(used, len(cell.classes), targets)
    classes = cell.classes[order]
    gone = np.isin(classes, dead)
    return Ranking(cell, np.concatenate([classes[gone], classes[~gone]]), costs)


def _eliminator(reader: Reader) -> Elimination | InputByInput:
    if reader.gram.ndim == 2:
        return InputByInput(reader.gram, reader.weights)
    gram = shrunk(reader.gram, max(reader.rows, 1), bias=reader.biased)
    return Elimination(gram, reader.weights, bias=reader.biased)
