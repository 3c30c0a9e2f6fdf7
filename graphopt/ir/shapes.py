"""Shape inference as advice: what it cannot tell is simply not told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx
from onnx import GraphProto, ModelProto

from graphopt.ir.tensor import Shape, declared_shape

if TYPE_CHECKING:
    from graphopt.ir.model import Model

LOGGER = logging.getLogger(__name__)


def infer_shapes(model: Model, bindings: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Shape]:
    """Return the shapes that can be told without running the model, by tensor name.

    ``bindings`` gives sizes for inputs whose declared dimensions are open.  Dimensions that stay open
    are symbols or None.  Failing inference costs entries, never the call; declared shapes of the model
    are not changed.
    """
    proto = model.proto()
    declared = {info.name: declared_shape(info.type) for info in proto.graph.value_info}
    if bindings:
        del proto.graph.value_info[:]
        _bind(proto.graph, bindings)
    shapes = {t.name: tuple(t.dims) for t in proto.graph.initializer}
    for info in (*_inferred(proto).value_info, *proto.graph.input, *proto.graph.output):
        shape = declared_shape(info.type)
        if shape is not None:
            shapes.setdefault(info.name, shape)
    for name, shape in declared.items():
        if shape is not None and all(isinstance(size, int) for size in shape):
            shapes.setdefault(name, shape)
    return shapes


def _bind(graph: GraphProto, bindings: Mapping[str, tuple[int, ...]]) -> None:
    for info in graph.input:
        if info.name in bindings:
            dims = info.type.tensor_type.shape.dim
            for dim, size in zip(dims, bindings[info.name], strict=False):
                dim.dim_value = size
    for info in graph.output:
        info.type.tensor_type.ClearField("shape")


def _inferred(proto: ModelProto) -> GraphProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        LOGGER.info("shape inference gave up: %s", error)
        return proto.graph
