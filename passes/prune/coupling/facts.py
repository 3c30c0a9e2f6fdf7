"""What the coupling has to know about tensors: sizes, and the values of small integer tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir, runtime
from graphopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from .ids import Decision

SMALL = 1024  # memory: elements; larger tensors are data, not sizes

# Inputs that say how big something is or where something is taken, by operator.
SIZE_INPUTS: dict[str, tuple[int, ...]] = {
    "Expand": (1,),
    "Gather": (1,),
    "Pad": (1, 3),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (3,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}


@dataclass(frozen=True)
class Facts:
    """Concrete shapes and small integer values at the sizes of this run, by tensor name."""

    shapes: dict[str, tuple[int, ...]]
    values: dict[str, ir.Array]
    runs: bool = True  # whether the model can be run at all
    allow_inexact: bool = False  # whether channels that are normalised together may be parted
    bundles: Mapping[bytes, Sequence[Decision]] = field(default_factory=dict)  # see coupling.with_bundles
    unit: str = "ranks"  # what attention may lose: ranks, heads or none

    def shape(self, tensor: ir.Tensor) -> tuple[int, ...] | None:
        """Return the shape of a tensor, or None when nobody knows it."""
        if tensor.name in self.shapes:
            return self.shapes[tensor.name]
        constant = tensor.constant
        return None if constant is None else constant.shape

    def value(self, tensor: ir.Tensor | None) -> ir.Array | None:
        """Return a constant, or a computed value that was seen at the sizes of this run."""
        if tensor is None:
            return None
        constant = tensor.constant
        return self.values.get(tensor.name) if constant is None else constant


def gather_facts(model: ir.Model, ctx: Context, allow_inexact: bool = False, unit: str = "ranks") -> Facts:
    """Infer all shapes, and look at one run for what inference cannot tell.

    A model that does not run costs facts, which become walls, never the call.
    """
    facts = Facts({}, {}, allow_inexact=allow_inexact, unit=unit)
    feeds: dict[str, np.ndarray] = {}
    try:
        feeds = next(iter(ctx.inputs.check)).feeds
        _infer(model, facts, feeds)
        unknown = [t.name for node in model.graph.nodes for t in node.outputs if t.name not in facts.shapes]
        custom_ops = ctx.settings.session.custom_ops
        facts.shapes.update(runtime.tensor_shapes(model, unknown, feeds, custom_ops=custom_ops))
        facts.values.update(_computed_sizes(model, facts, feeds, ctx))
        ctx.session(model, optimization="disabled")  # whatever shapes say: is there a kernel for every node?
    except (ModelError, DataError) as error:
        ctx.warn(f"prune cannot run the model to learn its inner sizes, so more of it stays whole: {error}")
        _infer(model, facts, feeds)
        return replace(facts, runs=False)
    return facts


def _infer(model: ir.Model, facts: Facts, feeds: Mapping[str, np.ndarray]) -> None:
    for name, shape in ir.infer_shapes(model, {name: feed.shape for name, feed in feeds.items()}).items():
        sizes = ir.static_shape(shape)
        if sizes is not None:
            facts.shapes[name] = sizes


def _computed_sizes(
    model: ir.Model, facts: Facts, feeds: Mapping[str, np.ndarray], ctx: Context
) -> dict[str, ir.Array]:
    """The values of computed tensors that some node takes sizes from."""
    wanted: dict[str, None] = {}
    for node in model.graph.nodes:
        for index in SIZE_INPUTS.get(node.op, ()):
            tensor = node.input(index)
            if tensor is None or tensor.producer is None or tensor.constant is not None:
                continue
            if math.prod(facts.shapes.get(tensor.name, (SMALL + 1,))) <= SMALL:
                wanted[tensor.name] = None
    if not wanted:
        return {}
    computed = ctx.session(model, outputs=list(wanted), optimization="disabled").run(feeds)
    return {name: value for name, value in computed.items() if value.dtype.kind in "iu"}
