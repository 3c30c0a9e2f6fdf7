"""Say for every weighted layer what happened to it, or why nothing did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .coupling import Coupling
from .ledger import FIXED
from .predict import Keep
from .walk import Layer

if TYPE_CHECKING:
    from graphopt.pipeline import Context


def report(coupling: Coupling, keep: Keep, block: int, ctx: Context) -> None:
    """Record a change or a skip with its wall for each Conv, ConvTranspose, Gemm and MatMul."""
    for layer in coupling.layers:
        kept = None if layer.ids is None else coupling.kept(layer.ids, keep)
        if kept is not None and not kept.all():
            ctx.changed(layer.node, f"{len(kept)} -> {int(kept.sum())} output channels")
        else:
            ctx.skipped(layer.node, why_whole(coupling, layer, block))


def why_whole(coupling: Coupling, layer: Layer, block: int) -> str:
    """Return the sentence that says why a layer keeps all its output channels."""
    if layer.ids is None:
        return layer.refusal
    classes = coupling.on(layer.ids)
    walled = [one for one in classes.tolist() if one == FIXED or one in coupling.walls]
    if walled:
        who = "its output channels stay" if len(walled) == len(classes) else "some of its output channels stay"
        named = next((one for one in walled if one != FIXED), FIXED)
        return f"{who}: {coupling.walls.get(named, 'they belong to a tensor that stays whole')}"
    if len(np.unique(classes)) == 1:
        return "its output channels can only go all together"
    if len(classes) <= block:
        return f"its {len(classes)} output channels are not more than one block of {block} (round_to)"
    return f"all its {len(classes)} output channels are worth keeping at multiples of {block} (round_to)"
