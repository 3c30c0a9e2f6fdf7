"""Writes small pieces of graph in place of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphopt.ir import Constant, Graph, Node, Tensor


@dataclass(frozen=True)
class Builder:
    """Adds nodes under names made from ``title``; ``shapes`` are those of the tensors that were there."""

    graph: Graph
    title: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    made: set[Node] = field(default_factory=set)

    @classmethod
    def of(cls, node: Node, shapes: dict[str, tuple[int, ...]]) -> Builder:
        """One that writes what stands in for ``node``."""
        return cls(node.graph, node.name or str(node.output.name), shapes)

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape of a tensor of the original graph."""
        if isinstance(tensor, Constant):
            return tensor.shape
        return self.shapes[tensor.name]

    def op(self, op: str, *inputs: Tensor | float | np.ndarray, domain: str = "", **attrs: Any) -> Tensor:
        """Add a node; numbers and float arrays among its inputs become float32 constants."""
        tensors = [self.tensor(item) for item in inputs]
        title = f"{self.title}.{op.lower()}"
        node: Node = self.graph.add_node(op, tensors, attrs, name=title, domain=domain or None)
        self.made.add(node)
        return node.output

    def tensor(self, item: Tensor | float | np.ndarray) -> Tensor:
        """A tensor as it is; a number or an array as a constant."""
        if isinstance(item, Tensor):
            return item
        values = np.asarray(item)
        if values.dtype.kind == "f":
            values = values.astype(np.float32)
        return self.graph.add_constant(f"{self.title}.value", values)

    def ints(self, values: Sequence[int]) -> Tensor:
        """A constant list of sizes, axes or positions."""
        return self.graph.add_constant(f"{self.title}.sizes", np.asarray(values, np.int64))

    def reshape(self, tensor: Tensor, *sizes: int) -> Tensor:
        """The same values in another shape."""
        return self.op("Reshape", tensor, self.ints(sizes))

    def transpose(self, tensor: Tensor, *order: int) -> Tensor:
        """The same values with axes in another order."""
        return self.op("Transpose", tensor, perm=list(order))

    def replace(self, node: Node, result: Tensor) -> None:
        """Let ``result`` be what ``node`` made, under the old name, and remove the node."""
        output = node.output
        self.graph.remove(node)
        producer = result.producer
        if producer is None or producer not in self.made:
            producer = self.graph.add_node("Identity", [result], name=f"{self.title}.identity")
            result = producer.output
        output.graph = self.graph
        producer.outputs = [output if tensor is result else tensor for tensor in producer.outputs]
        self.graph.replace_uses(result, output)
