"""What a model held before a user's code changed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx import ValueInfoProto

from graphopt.ir.graph import Graph
from graphopt.ir.model import Model
from graphopt.ir.node import Node
from graphopt.ir.tensor import Tensor


@dataclass
class Before:
    """What a model held before the surgery."""

    nodes: dict[Graph, dict[tuple[str, ...], Node]] = field(default_factory=dict)
    tensors: dict[Graph, dict[str, Tensor]] = field(default_factory=dict)
    names: dict[Tensor, str] = field(default_factory=dict)
    infos: dict[Tensor, ValueInfoProto] = field(default_factory=dict)
    unread: set[Tensor] = field(default_factory=set)  # initializers that nobody read
    inputs: list[Tensor] = field(default_factory=list)
    opset: int = 0
    title: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, model: Model) -> Before:
        """Record a model that is not opened yet."""
        graph = model.graph
        before = cls(inputs=list(graph.inputs), opset=model.opset)
        before.title = (graph.header.name, graph.header.doc_string)
        for inner in model.graphs():
            before._record(inner)
        return before

    def _record(self, graph: Graph) -> None:
        nodes, tensors = self.nodes.setdefault(graph, {}), self.tensors.setdefault(graph, {})
        made = [tensor for node in graph.nodes for tensor in node.outputs]
        for tensor in (*graph.inputs, *graph.initializers, *made):
            tensors.setdefault(tensor.name, tensor)
            self.names[tensor] = tensor.name
            if tensor.info is not None:
                self.infos[tensor] = tensor.info
        self.unread |= {tensor for tensor in graph.initializers if not tensor.outputs}
        for node in graph.nodes:
            for key in keys_of(node):
                nodes.setdefault(key, node)


def keys_of(node: Any) -> list[tuple[str, ...]]:
    """What a node is known by: its name and its first output's, else its name alone."""
    first = node.outputs[0].name if node.outputs else ""
    return [(node.op, node.name, first), *([(node.op, node.name)] if node.name else [])]
