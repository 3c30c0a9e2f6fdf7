"""Turn the live graph back into protos; what nobody touched is written as it was read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

from graphopt.ir.graph import Graph
from graphopt.ir.io.weights import Weights
from graphopt.ir.node import Node
from graphopt.ir.tensor import Constant, Tensor, Variable


class GraphExporter:
    """Exports graphs into weightless protos that refer to one weight store."""

    def __init__(self, weights: Weights, lists_initializers: bool = False) -> None:
        self.weights = weights
        self.lists_initializers = lists_initializers  # among the inputs, as IR versions up to 3 demand
        self._scopes: list[set[Tensor]] = []  # initializers of the graphs around, outermost first

    def write(self, graph: Graph, proto: GraphProto) -> None:
        """Write a sorted graph, subgraphs and all, into an empty GraphProto."""
        self._declare_constants(graph)
        if self.lists_initializers and not self._scopes:
            graph.inputs = list(dict.fromkeys([*graph.inputs, *graph.initializers]))
        self._scopes.append(set(graph.initializers))
        self._write(graph, proto)
        self._scopes.pop()

    def _write(self, graph: Graph, proto: GraphProto) -> None:
        proto.CopyFrom(graph.header)
        proto.node.extend(self.node(node) for node in graph.nodes)
        proto.initializer.extend(self.initializer(tensor) for tensor in graph.initializers)
        proto.input.extend(_value_info(tensor) for tensor in graph.inputs)
        proto.output.extend(_output_infos(graph))
        proto.value_info.extend(_value_infos(graph))

    def node(self, node: Node) -> NodeProto:
        """Return the NodeProto of one node."""
        inputs = [tensor.name for tensor in node.inputs]
        outputs = [tensor.name for tensor in node.outputs]
        old = node.proto
        if old is not None and _is_untouched(node, old, inputs, outputs) and not node.is_parsed:
            return old
        attributes = node.attrs.protos(self.encode)
        proto = NodeProto()
        if old is not None:
            proto.CopyFrom(old)  # metadata, doc string, overload, and whatever onnx adds next
        _assign(proto, "op_type", node.op)
        _assign(proto, "name", node.name)
        _assign(proto, "domain", node.domain or "")
        for field, values in (("input", inputs), ("output", outputs), ("attribute", attributes)):
            proto.ClearField(field)
            getattr(proto, field).extend(values)
        return proto

    def encode(self, value: Any) -> Any:
        """Encode the attribute values that onnx.helper does not know."""
        if isinstance(value, Graph):
            proto = GraphProto()
            (self.write if self._scopes else self._write)(value, proto)
            return proto
        if isinstance(value, Constant):
            return self.initializer(value)
        if isinstance(value, np.ndarray):
            return self.weights.proto("", value)
        return value

    def _declare_constants(self, graph: Graph) -> None:
        """Declare the constants that are read or handed out and that no graph around declares."""
        names = set(graph.initializers)
        for tensor in chain(chain.from_iterable(node.inputs for node in graph.nodes), graph.outputs):
            if isinstance(tensor, Constant) and tensor not in names:
                names.add(tensor)
                if not tensor.inputs and not any(tensor in scope for scope in self._scopes):
                    tensor.graph = graph
                    graph.initializers.append(tensor)

    def initializer(self, tensor: Constant | Variable) -> TensorProto:
        """Return the TensorProto of one initializer; a new value is put into the weight store."""
        if isinstance(tensor, Constant) and not tensor.is_stored:
            tensor.store(self.weights.proto(tensor.name, tensor.values, like=tensor.proto), self.weights)
        proto = tensor.proto
        assert proto is not None
        return proto if proto.name == tensor.name else _renamed(proto, tensor.name)


def _value_infos(graph: Graph) -> Iterator[ValueInfoProto]:
    """What the file says of inner tensors, in its order, as far as it still holds."""
    initializers = set(graph.initializers)
    for entry in graph.described:
        if isinstance(entry, ValueInfoProto):
            yield entry
        elif entry.info is not None and (entry.inputs or entry in initializers):
            yield _value_info(entry)


def _output_infos(graph: Graph) -> Iterator[ValueInfoProto]:
    """The declarations of the outputs; a tensor that is declared in several places keeps them all."""
    for place, tensor in enumerate(graph.outputs):
        declared, elsewhere, own = graph.declared_again.get(place, (None, None, None))
        holds = declared is tensor and (elsewhere is None or tensor.info is elsewhere)
        yield own if own is not None and holds and own.name == tensor.name else _value_info(tensor)


def _is_untouched(node: Node, old: NodeProto, inputs: list[str], outputs: list[str]) -> bool:
    return (
        node.op == old.op_type
        and node.name == old.name
        and (node.domain or "") == old.domain
        and inputs == list(old.input)
        and outputs == list(old.output)
    )


def _assign(proto: NodeProto, field: str, value: str) -> None:
    """Set a text field, unless that would only turn an absent field into an empty one."""
    if getattr(proto, field) != value:
        setattr(proto, field, value)


def _value_info(tensor: Tensor) -> ValueInfoProto:
    """Return the declaration of a tensor: the file's own when it still holds."""
    info = tensor.info
    if info is None:
        dtype = tensor.dtype
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype) if dtype is not None else 0
        return onnx.helper.make_tensor_value_info(tensor.name, kind, tensor.shape)
    if info.name == tensor.name:
        return info
    return _renamed(info, tensor.name)


def _renamed(proto: Any, name: str) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    copy.name = name
    return copy
