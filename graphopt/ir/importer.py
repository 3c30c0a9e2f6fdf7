"""Build the live graph from a weightless ModelProto; the protos stay and are parsed when read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnx import AttributeProto, GraphProto, TensorProto, ValueInfoProto

from graphopt.ir.graph import Graph, Node
from graphopt.ir.names import Names
from graphopt.ir.tensor import Constant, Tensor, Variable
from graphopt.ir.weights import Weights

OVERRIDABLE_SINCE = 4  # IR version from which an initializer that is also an input is only a default

# What a Graph holds live; everything else of a GraphProto stays in its header.
LIVE_FIELDS = ("node", "initializer", "input", "output", "value_info")


class GraphImporter:
    """Imports one graph and, through its nodes, the subgraphs inside it."""

    def __init__(
        self, weights: Weights, ir_version: int, names: Names, outer: GraphImporter | None = None
    ) -> None:
        self.weights = weights
        self.ir_version = ir_version
        self.names = names
        self.outer = outer
        self.tensors: dict[str, Tensor] = {}

    def graph(self, proto: GraphProto) -> Graph:
        """Return the live graph of ``proto``; unknown names are looked up in the graphs around it."""
        graph = Graph(name=proto.name, names=self.names, header=_header(proto))
        graph.decode_attribute = self._decode
        graph.inputs = self._inputs(proto.input)
        overridable = set(self.tensors) if self.ir_version >= OVERRIDABLE_SINCE else set()
        graph.initializers = [self._initializer(t, graph, overridable) for t in proto.initializer]
        for sparse in proto.sparse_initializer:
            self._declare(Variable(sparse.values.name)).graph = graph
        results = [self._results(node.output, graph) for node in proto.node]
        self._describe(proto.value_info, graph)
        graph.nodes = [self._node(node, outputs, graph) for node, outputs in zip(proto.node, results)]
        graph.outputs = [self._output(info) for info in proto.output]
        return graph

    def _inputs(self, infos: Iterable[ValueInfoProto]) -> list[Tensor]:
        inputs = []
        for info in infos:
            tensor = self._declare(Variable(info.name))
            tensor.info = info
            inputs.append(tensor)
        return inputs

    def _initializer(self, proto: TensorProto, graph: Graph, overridable: set[str]) -> Constant | Variable:
        tensor = self.tensors.get(proto.name)
        if tensor is not None and proto.name in overridable:
            tensor.proto = proto
        elif tensor is not None:  # IR 3: every initializer is listed as an input
            tensor.__class__ = Constant  # type: ignore[assignment]
            tensor.store(proto, self.weights)
        else:
            tensor = self._declare(Constant.stored(proto, self.weights))
        tensor.graph = graph
        return tensor  # type: ignore[return-value]

    def _results(self, names: Iterable[str], graph: Graph) -> list[Tensor]:
        results: list[Tensor] = []
        for name in names:
            tensor = self._declare(Variable(name)) if name else Variable("")
            tensor.graph = graph
            results.append(tensor)
        return results

    def _node(self, proto: Any, outputs: list[Tensor], graph: Graph) -> Node:
        node = Node.stored(proto, graph)
        self.names.take(proto.name)
        node.inputs.fill([self._find(name) for name in proto.input])
        node.outputs.fill(outputs)
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in proto.attribute):
            graph.owners.add(node)
            list(node.subgraphs())  # imported now, so that outer tensors know their readers inside
        return node

    def _output(self, info: ValueInfoProto) -> Tensor:
        tensor = self._find(info.name)
        tensor.info = info
        return tensor

    def _describe(self, infos: Iterable[ValueInfoProto], graph: Graph) -> None:
        for info in infos:
            tensor = self.tensors.get(info.name)
            if tensor is None or tensor.info is not None:
                graph.described.append(info)
            else:
                tensor.info = info
                graph.described.append(tensor)

    def _find(self, name: str) -> Tensor:
        if not name:
            return Variable("")
        scope: GraphImporter | None = self
        while scope is not None:
            if name in scope.tensors:
                return scope.tensors[name]
            scope = scope.outer
        return self._declare(Variable(name))

    def _declare(self, tensor: Any) -> Any:
        self.names.take(tensor.name)
        self.tensors[tensor.name] = tensor
        return tensor

    def _decode(self, proto: AttributeProto) -> Any:
        """Decode the attributes that need the graph: tensors and subgraphs."""
        if proto.type == AttributeProto.TENSOR:
            return Constant.stored(proto.t, self.weights)
        return GraphImporter(self.weights, self.ir_version, self.names, outer=self).graph(proto.g)


def _header(proto: GraphProto) -> GraphProto:
    """Copy what the live graph does not hold."""
    header = GraphProto()
    for field, value in proto.ListFields():
        if field.name in LIVE_FIELDS:
            continue
        if isinstance(value, str):
            setattr(header, field.name, value)
        else:
            getattr(header, field.name).MergeFrom(value)
    return header
