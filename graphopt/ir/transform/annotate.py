"""Write values into the metadata of nodes, where viewers such as Netron show them."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from graphopt.ir.node import Node


def annotate(node: Node, values: Mapping[str, str]) -> None:
    """Set entries of a node's metadata; others stay as they are."""
    if node.proto is None:
        node.proto = NodeProto(op_type=node.op, name=node.name)
    present = {prop.key: prop for prop in node.proto.metadata_props}
    for key, value in values.items():
        prop = present.get(key) or node.proto.metadata_props.add(key=key)
        prop.value = value
