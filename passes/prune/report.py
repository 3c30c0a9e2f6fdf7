"""Say for every weighted layer what happened to it, or why nothing did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .coupling.builder import Layer
from .coupling.coupling import Coupling
from .coupling.groups import find_cells
from .coupling.ids import FIXED
from .selection.predict import Keep

if TYPE_CHECKING:
    from graphopt.pipeline import Context


def report(coupling: Coupling, keep: Keep, block: int, ctx: Context) -> None:
    """Record a change or a skip with its wall for each Conv, ConvTranspose, Gemm and MatMul."""
    flexible = {
        one
        for cell in find_cells(coupling, block)
        if len(cell.widths(1)) > 1
        for one in cell.classes.tolist()
    }
    for layer in coupling.layers:
        kept = None if layer.ids is None else coupling.kept(layer.ids, keep)
        if kept is not None and not kept.all():
            ctx.changed(layer.node, f"{len(kept)} -> {int(kept.sum())} output channels")
        else:
            ctx.skipped(layer.node, why_whole(coupling, layer, block, flexible))


def why_whole(coupling: Coupling, layer: Layer, block: int, flexible: set[int]) -> str:
    """Return the sentence that says why a layer keeps all its output channels.

    ``flexible`` are the classes of the cells that could be narrower at multiples of ``block``.
    """
    if layer.ids is None:
        return layer.refusal
    classes = np.unique(coupling.on(layer.ids)).tolist()
    walled = [one for one in classes if one == FIXED or one in coupling.walls]
    if walled:
        who = (
            "its output channels stay" if len(walled) == len(classes) else "some of its output channels stay"
        )
        named = next((one for one in walled if one != FIXED), FIXED)
        return f"{who}: {coupling.walls.get(named, 'they belong to a tensor that stays whole')}"
    width = len(layer.ids)
    if len(classes) == 1:
        return f"its {width} output channels can only be removed all together"
    if not flexible.intersection(classes):
        return f"its {width} output channels go in {len(classes)} bundles, too few for a multiple of {block}"
    return f"the goal is met best with all its {width} output channels, at multiples of {block}"
