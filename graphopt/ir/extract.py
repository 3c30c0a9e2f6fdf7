"""Cut a part of a model out as a model of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx import ModelProto, ValueInfoProto

from graphopt.ir.exporter import GraphExporter
from graphopt.ir.tensor import Constant, Tensor
from graphopt.ir.wire import attach

if TYPE_CHECKING:
    from graphopt.ir.graph import Node
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
