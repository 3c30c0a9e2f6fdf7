"""Choose channels again when their consumer's turn comes, on what it really reads by then.

How wide each cell becomes is decided on the original network.  Which of its channels stay is decided by the
layer that reads them: fitted to its target on the inputs that the layers pruned before it produce, it gives
up the channels that it can best do without, one after the other, the rest re-fitted each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.solve import Elimination, shrunk

from ..coupling.coupling import Coupling
from ..coupling.groups import Group
from ..coupling.ids import Ids
from ..importance.consumers import Reader
from ..repair.fitting import fitted
from ..repair.layer_task import Task
from ..repair.rows import Rows, reading
from .predict import Keep

CHUNKS = 64  # time: a cell of many channels gives several up at a time


@dataclass(frozen=True)
class DeferredGroup:
    """A cell whose channels are yet to be chosen: how many stay, and which go first in any case."""

    cell: Group
    width: int
    dead: Ids


def openings(
    coupling: Coupling, cells: Sequence[Group], keep: Keep, dead: Ids
) -> dict[str, list[DeferredGroup]]:
    """Return the cells to choose again, by the output of their reader, and keep all their channels for now.

    These are the cells that one layer alone reads, in one place; what several layers read, and so decide
    together, is chosen beforehand.
    """
    readers: dict[int, list[str]] = defaultdict(list)
    for slot in coupling.slots:
        if slot.role == "in":
            for one in np.unique(coupling.on(slot.ids)).tolist():
                readers[one].append(slot.node.output.name if slot.index == 1 else "")
    groups: dict[str, list[DeferredGroup]] = defaultdict(list)
    for cell in cells:
        width = int(keep[cell.classes].sum())
        names = readers.get(int(cell.classes[0]), [])
        if 0 < width < len(cell.classes) and len(names) == 1 and names[0]:
            keep[cell.classes] = True
            groups[names[0]].append(DeferredGroup(cell, width, dead))
    return dict(groups)


def choose(
    task: Task,
    rows: Rows,
    gram: np.ndarray,
    alive: np.ndarray,
    wanted: Sequence[DeferredGroup],
    coupling: Coupling,
    keep: Keep,
) -> None:
    """Take the channels out of ``keep`` that one layer can best do without; ``gram`` is that of ``rows``."""
    rows, gram = rows.reading(alive), reading(gram, alive)
    weights = fitted(task, rows, gram, task.matrix(), alive, rounds=1)
    rest = Elimination(shrunk(gram, rows.count, bias=task.biased), weights, bias=task.biased)
    for opening in wanted:
        reader = Reader(task.slots[0], task.patches, weights, gram, 1.0)
        places = reader.places(coupling, opening.cell)
        classes = opening.cell.classes
        doomed = np.isin(classes, opening.dead)
        left = np.arange(len(classes))
        chunk = -(-len(left) // CHUNKS)
        while len(left) > opening.width:
            costs = np.where(doomed[left], -1.0, 0.0)
            for group, inputs in places:
                costs += rest.costs(inputs[left], group)
            going = left[np.argsort(costs, kind="stable")[: min(chunk, len(left) - opening.width)]]
            for group, inputs in places:
                rest.remove(inputs[going].ravel(), group)
            keep[classes[going]] = False
            left = np.setdiff1d(left, going)
