"""Make a model from nothing, to be filled through its graph."""

from __future__ import annotations

from onnx import ModelProto, OperatorSetIdProto

from graphopt.ir.io.weights import Weights
from graphopt.ir.model import Model


def blank(opset: int = 17, *, ir_version: int = 8) -> Model:
    """Return a model without nodes, inputs and outputs."""
    proto = ModelProto(ir_version=ir_version, opset_import=[OperatorSetIdProto(version=opset)])
    proto.graph.name = "graph"
    return Model(proto, Weights())
