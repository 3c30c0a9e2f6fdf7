"""Say for every weighted layer what happened to it, or why nothing did."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .fit.fitting import Done, Task
from .layers.layer import Layer
from .layers.stage import macs
from .layers.survey import Survey
from .ranks.paying import Prices

if TYPE_CHECKING:
    from graphopt.pipeline import Context

KEPT = "no split of it saves enough for what it would lose"


def summary(layers: Survey, tasks: Mapping[str, Task], prices: Prices) -> str:
    """Return one line: how many layers were split, what that saves, and which tool pays where."""
    before = sum(task.layer.macs for task in tasks.values())
    after = sum(macs(task.kind.stages(task.layer, task.ranks), task.layer.source) for task in tasks.values())
    text = f"{len(tasks)} of {len(layers.names)} layers split"
    if before:
        text += f", {1 - after / before:.0%} of their multiply-accumulates saved"
    if compared := len(prices.by_layer):
        cheaper = prices.where_pruning_pays
        text += f"; pruning would save at a lower price in {cheaper} of {compared} layers compared"
    return text


def tell_split(task: Task, ctx: Context) -> None:
    """Record a layer that was split."""
    layer, kind = task.layer, task.kind
    ranks = " and ".join(f"{rank} of {full}" for rank, full in zip(task.ranks, kind.full(layer), strict=True))
    left = sum(stage.params for stage in kind.stages(layer, task.ranks)) / layer.stage.params
    ctx.changed(layer.name, f"{kind.words}: rank {ranks}, {left:.0%} of its weights are left")


def tell_fit(done: Done, ctx: Context) -> None:
    """Record the error of a layer after fitting, and the singular values that were cut."""
    if done.values is not None:
        values = np.sort(done.values, axis=None)[::-1].tolist()
        rank = done.rank * len(done.values)
        ctx.figure("spectrum", done.layer, {"values": values, "rank": rank}, done.layer)
    if done.after is None:
        return
    if done.before is None:
        what = f"output error after fitting: {done.after:.1%} of its variance"
    else:
        what = f"weights refitted: output error {done.before:.1%} -> {done.after:.1%} of its variance"
    ctx.changed(done.layer, what)


def tell_kept(
    layers: Mapping[str, Layer],
    refused: Mapping[str, str],
    split: Collection[str],
    prices: Prices,
    ctx: Context,
) -> None:
    """Record why each layer that is not split stays as it is.

    ``layers`` are those that could have been split, by the tensor they make; ``refused`` has the reason why
    others cannot be, by name.
    """
    for name, reason in refused.items():
        ctx.skipped(name, reason)
    for tensor, layer in layers.items():
        if tensor not in split:
            price = prices.by_layer.get(layer.name)
            ctx.skipped(layer.name, KEPT if price is None else f"{KEPT}; {price.what}")
