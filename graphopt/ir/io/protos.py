"""Walks over protobuf messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto


def tensors_in(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield initializers and attribute tensors, those of subgraphs too: nearly all, and quickly."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from tensors_in(attribute.g)
            elif attribute.type == AttributeProto.GRAPHS:
                for inner in attribute.graphs:
                    yield from tensors_in(inner)


def all_tensors(message: Any) -> Iterator[TensorProto]:
    """Yield every tensor below a message, those of functions, sparse tensors and training graphs too."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in (value,) if isinstance(value, Message) else value:
                yield from all_tensors(item)


def rare_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield the tensors that `tensors_in` does not reach."""
    common = list(tensors_in(model.graph))  # held, so that their wrappers keep their identity
    ids = {id(tensor) for tensor in common}
    yield from (tensor for tensor in all_tensors(model) if id(tensor) not in ids)
