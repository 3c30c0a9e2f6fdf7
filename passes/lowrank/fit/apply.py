"""Carry out what a plan asks for, with samples or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from graphopt import ir

from ..layers.study import Shelf
from ..layers.survey import Survey
from ..report import tell_fit, tell_split
from .fitting import Done, Task, fit_all, split_alone

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


def carry_out(layers: Survey, tasks: Mapping[str, Task], ctx: Context, *, others: bool) -> None:
    """Split the layers of ``tasks`` in the surveyed model, and with ``others`` fit those that stay whole."""
    for task in tasks.values():
        tell_split(task, ctx)
    if layers.samples is None:
        done = split_quickly(layers.model, tasks, layers.shelf(ctx))
    else:
        done = split_thoroughly(layers, tasks, layers.samples, ctx, others=others)
    for one in done:
        tell_fit(one, ctx)


def split_quickly(model: ir.Model, tasks: Mapping[str, Task], shelf: Shelf) -> list[Done]:
    """Split each layer by itself, to what it made of the original's activations."""
    done = [
        split_alone(model.graph, tasks[studied.layer.output], studied)
        for studied in shelf.find([task.layer for task in tasks.values()])
    ]
    _tidy(model)
    return done


def split_thoroughly(
    layers: Survey, tasks: Mapping[str, Task], samples: Samples, ctx: Context, *, others: bool
) -> list[Done]:
    """Split and fit the layers in order, each to the network as it has become."""
    model = layers.model
    original = model.copy()
    large = [task.layer for task in tasks.values() if not task.layer.has_affordable_gram]
    studied = {one.layer.output: one for one in layers.studied(ctx, samples)(large)} if large else {}
    done = fit_all(original, model, tasks, studied, samples, ctx, others=others)
    _tidy(model)
    return done


def _tidy(model: ir.Model) -> None:
    model.sort()
    model.graph.remove_unused_initializers()


def on(model: ir.Model, tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks for another copy of their model, found by the names of tensors."""
    nodes = {node.output.name: node for node in model.graph.nodes if node.outputs}
    return {name: replace(task, layer=replace(task.layer, node=nodes[name])) for name, task in tasks.items()}
