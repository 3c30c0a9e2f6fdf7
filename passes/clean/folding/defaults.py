"""Bake the defaults of inputs."""

from __future__ import annotations

from graphopt.ir import Constant, Model, Variable
from graphopt.pipeline import Context


def freeze_defaults(model: Model, ctx: Context) -> None:
    """Turn every initializer that is also an input (IR version 4 and later) into a constant."""
    graph = model.graph
    frozen = [t for t in graph.initializers if isinstance(t, Variable)]
    for tensor in frozen:
        if tensor.proto is not None:
            tensor.become(Constant.stored(tensor.proto, model.weights))
    listed = set(frozen)
    graph.inputs = [tensor for tensor in graph.inputs if tensor not in listed]
    if frozen:
        ctx.changed("model", f"{len(frozen)} inputs that initializers fill are constants now")
