"""Cut a part of a model out as a model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from graphopt.ir.io.exporter import GraphExporter
from graphopt.ir.io.wire import attach
from graphopt.ir.tensor import Constant, Tensor
from graphopt.ir.traversal import reads

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph, Node
    from graphopt.ir.model import Model


def extract(model: Model, nodes: Sequence[Node], outputs: Sequence[Tensor]) -> bytes:
    """Return a serialised model of ``nodes``, in order, that hands out ``outputs``.

    Every other tensor that the nodes read must be a constant.
    """
    exporter = GraphExporter(model.weights)
    proto = ModelProto(ir_version=model.ir_version)
    proto.opset_import.extend(model.header.opset_import)
    proto.graph.name = "part"
    proto.graph.node.extend(exporter.node(node) for node in nodes)
    constants = {t: None for node in nodes for t in node.inputs if isinstance(t, Constant)}
    for tensor in constants:
        proto.graph.initializer.append(model.weights.inline(exporter.initializer(tensor)))
    proto.graph.output.extend(ValueInfoProto(name=tensor.name) for tensor in outputs)
    return b"".join(attach(proto.SerializeToString(), model.weights.marker, model.weights.payloads))


def part(
    model: Model,
    values: Mapping[str, np.ndarray],
    wanted: Sequence[str],
    tensors: Mapping[str, Tensor] | None = None,
) -> ModelProto:
    """Return the weightless proto of what computes ``wanted`` from ``values``, without declared outputs.

    ``values`` are values of tensors, the model's inputs among them; only their types and numbers of axes
    matter.  The cost is that of the nodes taken.
    """
    graph = model.graph
    exporter = GraphExporter(model.weights)
    proto = ModelProto()
    proto.CopyFrom(model.header)
    proto.graph.CopyFrom(graph.header)
    nodes = _between(graph, values, wanted, tensors or {})
    proto.graph.node.extend(exporter.node(node) for node in nodes)
    initializers = set(graph.initializers)
    given: dict[str, np.ndarray] = {}
    for tensor in dict.fromkeys(tensor for node in nodes for tensor in reads(node)):
        if tensor.name in values:
            given[tensor.name] = values[tensor.name]
        elif isinstance(tensor, Constant) or tensor in initializers:
            proto.graph.initializer.append(exporter.initializer(tensor))
            if tensor.info is not None and not isinstance(tensor, Constant):
                proto.graph.input.append(tensor.info)  # a default that a caller may override
    proto.graph.input.extend(_input(name, value) for name, value in given.items())
    for node in proto.graph.node:  # a node taken for one output may make what is given as well
        node.output[:] = [model.names.unique(name) if name in given else name for name in node.output]
    return proto


def _between(
    graph: Graph, values: Mapping[str, np.ndarray], wanted: Sequence[str], tensors: Mapping[str, Tensor]
) -> list[Node]:
    """The nodes of the main graph that ``wanted`` needs, given ``values``."""
    producers = {name: tensors[name].producer for name in wanted if name in tensors}
    waiting = [node for node in producers.values() if node is not None and node.graph is graph]
    names = {name for name in wanted if producers.get(name) not in waiting}
    if names:
        waiting += [node for node in graph.nodes if any(out.name in names for out in node.outputs)]
    taken = dict.fromkeys(waiting)
    waiting = list(taken)
    while waiting:
        for tensor in reads(waiting.pop()):
            maker = tensor.producer
            if (
                maker is not None
                and maker.graph is graph
                and tensor.name not in values
                and maker not in taken
            ):
                taken[maker] = None
                waiting.append(maker)
    return list(taken)


def _input(name: str, value: np.ndarray) -> ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, [f"{name}.{axis}" for axis in range(value.ndim)])
