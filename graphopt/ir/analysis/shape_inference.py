"""Shape inference as advice: what it cannot infer is left unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphopt.ir.analysis.facts import gather_facts
from graphopt.ir.declared import Shape

if TYPE_CHECKING:
    from graphopt.ir.model import Model


def infer_shapes(model: Model, bindings: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Shape]:
    """Return the shapes of the main graph's tensors that can be inferred without running the model, by name.

    ``bindings`` gives sizes for inputs whose declared dimensions are open.  Dimensions that stay open
    are symbols or None.  Failing inference costs entries, never the call; declared shapes of the model
    are not changed.
    """
    facts, graph = gather_facts(model, bindings), model.graph
    tensors = [*graph.inputs, *graph.initializers, *graph.outputs]
    tensors += [tensor for node in graph.nodes for tensor in node.outputs]
    shapes = {tensor.name: facts.shape(tensor) for tensor in tensors if tensor.name}
    return {name: shape for name, shape in shapes.items() if shape is not None}
