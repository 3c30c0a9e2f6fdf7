"""Choose what to remove, and write the choice down so that it can be read, edited and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphopt.errors import PassError

from .coupling.builder import label
from .coupling.coupling import Coupling
from .coupling.groups import Group
from .coupling.ids import FIXED
from .report import why_whole
from .selection.choice import Choice
from .selection.cost_model import CostModel
from .selection.predict import Keep, Predictor


def group_name(coupling: Coupling, cell: Group) -> str:
    """The name of a cell: that of the first layer that makes its channels."""
    return label(coupling.layers[cell.layers[0]].node)


def write_items(
    choice: Choice, keep: Keep, rule: str, predictor: Predictor, block: int
) -> tuple[Mapping[str, Any], ...]:
    """Write a choice as plan items: the groups that lose channels, then those that stay whole.

    ``remove`` are output channels of the layer ``group``, found by the name of its output ``tensor``;
    everything coupled with them follows.  ``channels`` is the size of the cell, ``left`` what stays of it,
    ``members`` the layers that get narrower with it.  ``narrowed`` says for the output tensor of each of
    them along which axis which channels go; only ``remove`` is read when the plan is carried out.  ``cost``
    is what its readers lose, in units of the variance of what they come to; ``macs`` and ``params`` are the
    fractions of the model that this group saves alone.  A group that stays whole says ``why``; its
    ``remove`` may be filled in.
    """
    coupling = choice.coupling
    saved = _savings(choice, predictor)
    cut, uncut = [], []
    for number, ranking in enumerate(choice.rankings):
        item = _head(coupling, ranking.cell)
        gone = ranking.cell.classes[~keep[ranking.cell.classes]]
        if not len(gone):
            uncut.append({**item, "why": _why(choice, ranking.cell, block)})
            continue
        first = coupling.layers[ranking.cell.layers[0]]
        assert first.ids is not None
        item["left"] = item["channels"] - len(gone)
        item["narrowed"] = list(_narrowed(coupling, ranking.cell, gone))
        item["remove"] = np.flatnonzero(np.isin(coupling.on(first.ids), gone)).tolist()
        item["cost"] = round(float(ranking.costs[len(gone)]), 6)
        item.update({goal: round(of(number, item["left"]), 4) for goal, of in saved.items()})
        cut.append({**item, "rule": rule})
    return (*cut, *uncut, *_walled(coupling, block))


def _savings(choice: Choice, predictor: Predictor) -> dict[str, Callable[[int, int], float]]:
    """For macs and params the fraction of the model that a cell saves alone at a width."""
    whole = predictor.size(choice.coupling.keep_all())
    full = np.asarray([len(cell.classes) for cell in choice.cells], np.int64)

    def of(usage: CostModel) -> Callable[[int, int], float]:
        return lambda number, width: float(1.0 - usage.along(full, number, np.asarray([width]))[0])

    totals = {"macs": whole.macs, "params": whole.params}
    return {
        goal: of(CostModel(choice.coupling, choice.cells, goal, total or 1)) for goal, total in totals.items()
    }


def _head(coupling: Coupling, cell: Group) -> dict[str, Any]:
    return {
        "group": group_name(coupling, cell),
        "tensor": coupling.layers[cell.layers[0]].node.output.name,
        "channels": len(cell.classes),
        "left": len(cell.classes),
        "remove": [],
        "members": [label(coupling.layers[number].node) for number in cell.layers],
    }


def _narrowed(coupling: Coupling, cell: Group, gone: np.ndarray) -> Iterable[Mapping[str, Any]]:
    """The tensors of a cell's layers, with the axis of their channels and those that go."""
    for number in cell.layers:
        layer = coupling.layers[number]
        carried = coupling.carried.get(layer.node.output)
        if layer.ids is not None and carried is not None:
            removed = np.flatnonzero(np.isin(coupling.on(layer.ids), gone)).tolist()
            yield {"tensor": layer.node.output.name, "axis": carried.axis, "remove": removed}


def _why(choice: Choice, cell: Group, block: int) -> str:
    layer = choice.coupling.layers[cell.layers[0]]
    flexible = set(cell.classes.tolist()) if len(cell.widths(1)) > 1 else set()
    return why_whole(choice.coupling, layer, block, flexible)


def _walled(coupling: Coupling, block: int) -> Iterable[Mapping[str, Any]]:
    """The layers of which no channel can go."""
    for layer in coupling.layers:
        if layer.ids is None:
            yield {"group": label(layer.node), "remove": [], "why": layer.refusal}
        elif layer.own and all(
            one == FIXED or one in coupling.walls for one in coupling.on(layer.ids).tolist()
        ):
            yield {
                "group": label(layer.node),
                "tensor": layer.node.output.name,
                "channels": len(layer.ids),
                "left": len(layer.ids),
                "remove": [],
                "why": why_whole(coupling, layer, block, set()),
            }


def read_items(coupling: Coupling, items: Iterable[Mapping[str, Any]]) -> Keep:
    """Return the choice that plan items describe.

    Raises:
        PassError: an item names a layer or channel that the model does not have or that has to stay.
    """
    layers = {layer.node.output.name: layer for layer in coupling.layers}
    keep = coupling.keep_all()
    for item in items:
        if not item["remove"]:
            continue
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
        hint="make a new plan for this model",
    )
