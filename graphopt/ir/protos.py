"""Walks over protobuf messages."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, TensorProto


def tensors_in(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield initializers and attribute tensors, those of subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from tensors_in(attribute.g)
