"""What the coupling has to know about tensors: sizes, and the values of small integer tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.errors import ModelError

if TYPE_CHECKING:
    from graphopt.pipeline import Context

SMALL = 1024  # elements; larger tensors are data, not sizes
CHUNK = 32  # tensors handed out by one run, so that memory does not grow with the model

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
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}


@dataclass(frozen=True)
class Facts:
    """Concrete shapes and small integer values at the sizes of this run, by tensor name."""

    shapes: dict[str, tuple[int, ...]]
    values: dict[str, ir.Array]

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


def gather_facts(model: ir.Model, ctx: Context) -> Facts:
    """Infer all shapes, and look at one run for those that inference cannot tell.

    A model that does not run costs facts, which become walls, never the call.
    """
    feeds = next(iter(ctx.inputs.check)).feeds
    bindings = {name: feed.shape for name, feed in feeds.items()}
    inferred = ir.infer_shapes(model, bindings)
    shapes = {name: _known(shape) for name, shape in inferred.items()}
    facts = Facts({name: shape for name, shape in shapes.items() if shape is not None}, {})
    wanted = [name for name in _open_questions(model, facts) if name]
    for start in range(0, len(wanted), CHUNK):
        _observe(model, wanted[start : start + CHUNK], feeds, facts, ctx)
    return facts


def _known(shape: ir.Shape | None) -> tuple[int, ...] | None:
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return tuple(int(size) for size in shape if isinstance(size, int))


def _open_questions(model: ir.Model, facts: Facts) -> Iterator[str]:
    """Tensors without a shape, and computed tensors that some node takes sizes from."""
    asked: set[str] = set()
    for node in model.graph.nodes:
        sizes = [node.input(i) for i in SIZE_INPUTS.get(node.op, ())]
        computed = [t.name for t in sizes if t is not None and t.producer is not None and t.constant is None]
        unknown = [t.name for t in node.outputs if t.name not in facts.shapes]
        for name in (*computed, *unknown):
            if name not in asked:
                asked.add(name)
                yield name


def _observe(
    model: ir.Model, names: list[str], feeds: dict[str, np.ndarray], facts: Facts, ctx: Context
) -> None:
    try:
        found = ctx.session(model, outputs=names, optimization="disabled").run(feeds)
    except ModelError as error:
        ctx.warn(f"prune: the model cannot be run to learn its inner sizes, so more of it stays whole ({error})")
        return
    for name, value in found.items():
        if not isinstance(value, np.ndarray):
            continue  # a sequence or an absent optional has no channels
        facts.shapes[name] = value.shape
        if value.dtype.kind in "iu" and value.size <= SMALL:
            facts.values[name] = value
