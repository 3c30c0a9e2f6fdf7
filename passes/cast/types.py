"""The element types of the main graph's tensors: from inference, and from onnxruntime where that ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.ir import Model, Node, Tensor
from graphopt.ir.analysis.facts import gather_facts

if TYPE_CHECKING:
    from graphopt.pipeline import Context

FLOAT_TENSOR = "tensor(float)"


class ElementTypes:
    """Which tensors are float32, and which nobody knows the type of; gathered once for a whole graph."""

    def __init__(self, model: Model, ctx: Context) -> None:
        self._facts = gather_facts(model)
        made = [t for node in model.graph.nodes for t in node.outputs if t.name]
        unknown = [tensor.name for tensor in made if self._facts.type_proto(tensor) is None]
        self._loaded = _runtime_types(model, unknown, ctx) if unknown else {}

    def is_float(self, tensor: Tensor) -> bool:
        """Whether a tensor is certainly of float32."""
        if not tensor.name:
            return False
        value = tensor.constant
        dtype = self._facts.dtype(tensor) if value is None else value.dtype
        return dtype == np.float32 or self._loaded.get(tensor.name) == FLOAT_TENSOR

    def is_known(self, tensor: Tensor) -> bool:
        """Whether anything tells the type of a tensor; an absent one has none to tell."""
        if not tensor.name or tensor.constant is not None or tensor.name in self._loaded:
            return True
        return self._facts.type_proto(tensor) is not None

    def is_container(self, tensor: Tensor) -> bool:
        """Whether a tensor is a sequence, a map or optional."""
        declared = self._facts.type_proto(tensor) if tensor.name else None
        if declared is not None:
            return not declared.HasField("tensor_type")
        return not self._loaded.get(tensor.name, FLOAT_TENSOR).startswith("tensor(")

    def has_floats(self, node: Node) -> bool:
        """Whether a node reads or makes float32 tensors, those that its bodies read included."""
        return any(self.is_float(tensor) for tensor in (*node.inputs, *node.outputs, *captured(node)))


def captured(node: Node) -> Iterator[Tensor]:
    """Yield what the bodies of a node read from the graphs around them, once for each use."""
    bodies = list(node.subgraphs(recursive=True))
    inside = set(bodies)
    for body in bodies:
        for tensor in (*(t for inner in body.nodes for t in inner.inputs), *body.outputs):
            if tensor.name and tensor.graph not in inside:
                yield tensor


def _runtime_types(model: Model, names: list[str], ctx: Context) -> Mapping[str, str]:
    """What onnxruntime says, which knows more operators than ONNX; empty where it does not load the model."""
    try:
        session = ctx.session(model, names, optimization="disabled")
    except GraphoptError:
        return {}
    return {name: session.types[name] for name in names if name in session.types}
