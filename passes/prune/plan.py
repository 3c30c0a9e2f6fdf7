"""Choose what to remove, and write the choice down so that it can be read, edited and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphopt.errors import PassError

from .cells import Cell
from .coupling import Coupling
from .ledger import FIXED
from .predict import Keep
from .walk import label

SEARCH_STEPS = 40  # bisections; the last ones are far below one channel of any layer


def choose_dead(coupling: Coupling, cells: Iterable[Cell], dead: np.ndarray) -> Keep:
    """Remove dead channels only, as many as alignment and a last living channel allow."""
    keep = coupling.keep_all()
    for cell in cells:
        gone = cell.classes[np.isin(cell.classes, dead)]
        alive = len(cell.classes) - len(gone)
        width = min(width for width in cell.widths(1) if width >= alive)
        keep[gone[: len(cell.classes) - width]] = False
    return keep


def smallest(good: Callable[[float], bool], largest: float) -> tuple[float, bool]:
    """Return the smallest number that is ``good``, and whether there is one up to ``largest``.

    ``good`` must stay true once the number is large enough; when it is never true, ``largest`` comes.
    """
    low, high = 0.0, largest
    if good(low):
        return low, True
    if not good(high):
        return high, False
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high, True


def write_items(
    coupling: Coupling, cells: Iterable[Cell], keep: Keep, rule: str
) -> tuple[Mapping[str, Any], ...]:
    """Write a choice as plan items, one for each cell that loses channels.

    ``remove`` are output channels of the layer ``group``, found by the name of its output ``tensor``;
    everything coupled with them follows.  ``channels`` is the size of the cell, ``members`` are the layers
    that get narrower with it.
    """
    items = []
    for cell in cells:
        removed = cell.classes[~keep[cell.classes]]
        if not len(removed):
            continue
        first = coupling.layers[cell.layers[0]]
        assert first.ids is not None
        items.append(
            {
                "group": label(first.node),
                "tensor": first.node.output.name,
                "channels": len(cell.classes),
                "remove": np.flatnonzero(np.isin(coupling.on(first.ids), removed)).tolist(),
                "members": [label(coupling.layers[number].node) for number in cell.layers],
                "rule": rule,
            }
        )
    return tuple(items)


def read_items(coupling: Coupling, items: Iterable[Mapping[str, Any]]) -> Keep:
    """Return the choice that plan items describe.

    Raises:
        PassError: an item names a layer or channel that the model does not have or that has to stay.
    """
    layers = {layer.node.output.name: layer for layer in coupling.layers}
    keep = coupling.keep_all()
    for item in items:
        layer = layers.get(str(item["tensor"]))
        if layer is None or layer.ids is None:
            raise _unfit(item, "which this model does not have or cannot prune")
        removed = np.asarray(item["remove"], np.int64)
        if len(removed) and not 0 <= removed.min() <= removed.max() < len(layer.ids):
            raise _unfit(item, f"which has only {len(layer.ids)} channels")
        for one in np.unique(coupling.on(layer.ids[removed])).tolist():
            if one == FIXED or one in coupling.walls:
                raise _unfit(
                    item, f"but {coupling.walls.get(one, 'they belong to a tensor that stays whole')}"
                )
            keep[one] = False
    for axis in coupling.axes:
        if not keep[axis].any():
            raise PassError(
                "the plan leaves an axis without any channel", pass_name="prune", hint="keep one more"
            )
    return keep


def _unfit(item: Mapping[str, Any], why: str) -> PassError:
    return PassError(
        f"the plan removes channels of '{item['group']}', {why}",
        pass_name="prune",
        node=str(item["group"]),
        hint="plan again for this model",
    )
