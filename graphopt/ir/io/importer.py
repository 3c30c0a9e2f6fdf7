"""Build the live graph from a weightless ModelProto; the protos stay and are parsed when read."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from typing import Any

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

from graphopt.ir.graph import Graph
from graphopt.ir.io.attributes import GRAPH_KINDS
from graphopt.ir.io.weights import Weights
from graphopt.ir.names import Names
from graphopt.ir.node import Node
from graphopt.ir.tensor import Constant, Tensor, Variable

OVERRIDABLE_SINCE = 4  # IR version from which an initializer that is also an input is only a default

# What a Graph holds live; the GraphProto without it stays as the graph's header.
LIVE_FIELDS = ("node", "initializer", "input", "output", "value_info")


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's cyclic garbage collector off while many objects are made and none is dropped.

    It would walk all of them again and again: half of the time that importing takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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
        """Return the live graph of ``proto``, which is emptied; names may come from the graphs around."""
        graph = Graph(name=proto.name, names=self.names, header=proto)
        graph.decode_attribute = self._decode
        graph.inputs = self._inputs(proto.input, graph)
        listed = dict(self.tensors)
        graph.initializers = [self._initializer(tensor, graph, listed) for tensor in proto.initializer]
        for sparse in proto.sparse_initializer:
            self._declare(Variable(sparse.values.name), graph)
        results = [self._results(node.output, graph) for node in proto.node]
        self._describe(proto.value_info, graph)
        graph.nodes = [self._node(node, made, graph) for node, made in zip(proto.node, results, strict=True)]
        graph.outputs = self._outputs(proto.output, graph)
        for field in LIVE_FIELDS:
            proto.ClearField(field)
        return graph

    def _inputs(self, infos: Iterable[ValueInfoProto], graph: Graph) -> list[Tensor]:
        inputs: list[Tensor] = []
        for info in infos:
            tensor = self._declare(Variable(info.name), graph)
            tensor.info = info
            inputs.append(tensor)
        return inputs

    def _initializer(
        self, proto: TensorProto, graph: Graph, listed: dict[str, Tensor]
    ) -> Constant | Variable:
        """Import an initializer; one that is listed among the inputs is that input's default or value."""
        tensor = listed.pop(proto.name, None)
        if tensor is None:
            return self._declare(Constant.stored(proto, self.weights), graph)  # type: ignore[no-any-return]
        if self.ir_version >= OVERRIDABLE_SINCE:
            tensor.proto = proto
        else:
            tensor.__class__ = Constant
            tensor.store(proto, self.weights)  # type: ignore[attr-defined]
        return tensor  # type: ignore[return-value]

    def _results(self, names: Iterable[str], graph: Graph) -> list[Tensor]:
        return [self._declare(Variable(name), graph) if name else Variable("") for name in names]

    def _node(self, proto: NodeProto, outputs: list[Tensor], graph: Graph) -> Node:
        node = Node.stored(proto, graph)
        if proto.name:
            self.names.take(proto.name)
        # What `fill` does, for lists that nobody has seen yet.
        inputs = [self._find(name) for name in proto.input]
        list.extend(node.inputs, inputs)
        for tensor in inputs:
            list.append(tensor.outputs, node)
        list.extend(node.outputs, outputs)
        for tensor in outputs:
            list.append(tensor.inputs, node)
        for attribute in proto.attribute:
            if attribute.type in GRAPH_KINDS:
                graph.owners.add(node)
        if node in graph.owners:
            for _ in node.subgraphs():  # imported now, so that outer tensors know their readers inside
                pass
        return node

    def _outputs(self, infos: Iterable[ValueInfoProto], graph: Graph) -> list[Tensor]:
        """Find what a graph hands out; inputs, outer tensors and earlier outputs keep their declaration."""
        outputs: list[Tensor] = []
        declared = set(graph.inputs)
        for place, info in enumerate(infos):
            tensor = self._find(info.name)
            if tensor in declared or tensor.graph not in (graph, None):
                graph.declared_again[place] = (tensor, tensor.info, info)
            else:
                tensor.info = info
            declared.add(tensor)
            outputs.append(tensor)
        return outputs

    def _describe(self, infos: Iterable[ValueInfoProto], graph: Graph) -> None:
        for info in infos:
            tensor = self.tensors.get(info.name)
            if tensor is None or tensor.info is not None:
                self.names.take(info.name)
                graph.described.append(info)
            else:
                tensor.info = info
                graph.described.append(tensor)

    def _find(self, name: str) -> Tensor:
        if name in self.tensors:
            return self.tensors[name]
        if not name:
            return Variable("")
        scope = self.outer
        while scope is not None:
            if name in scope.tensors:
                return scope.tensors[name]
            scope = scope.outer
        return self._declare(Variable(name), None)  # type: ignore[no-any-return]

    def _declare(self, tensor: Any, graph: Graph | None) -> Any:
        if tensor.name:
            self.names.take(tensor.name)
            self.tensors[tensor.name] = tensor
        tensor.graph = graph
        return tensor

    def _decode(self, proto: AttributeProto) -> Any:
        """Decode the attributes that need the graph: tensors and subgraphs."""
        if proto.type == AttributeProto.TENSOR:
            return Constant.stored(proto.t, self.weights)
        if proto.type == AttributeProto.GRAPHS:
            return [self._inner(graph) for graph in proto.graphs]
        return self._inner(proto.g)

    def _inner(self, proto: GraphProto) -> Graph:
        return GraphImporter(self.weights, self.ir_version, self.names, outer=self).graph(proto)
