"""Sums that onnxruntime must not see, since what it makes of them is not valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphopt.ir import Graph, Model, Node, infer_shapes

from .items import Item, TensorItem, WeightItem, nodes_by_id

FROM_OPSET = 21  # fixed: QuantizeLinear has had an output type of its own since then


def keep_sums_apart(model: Model, items: Iterable[Item]) -> None:
    """Write MatMul and Add as MatMul and Sub of the negated bias where their fusion fails.

    onnxruntime (1.32 and before) makes a Gemm of a MatMul and an Add over more than two dimensions of fixed
    size, and gives the QuantizeLinear that it moves for that the output type int8 beside a zero point of
    uint8: then it refuses the model as its own.  The function stays the same, exactly.
    """
    items = list(items)
    signed = {i.tensor for i in items if isinstance(i, TensorItem) and i.parameters.dtype == "int8"}
    if model.opset < FROM_OPSET or not signed:
        return
    nodes, shapes = nodes_by_id(model.graph), infer_shapes(model)
    for item in items:
        layer = nodes.get(item.node) if isinstance(item, WeightItem) else None
        if layer is not None and layer.op == "MatMul" and len(shapes.get(layer.inputs[0].name, ())) != 2:
            for adder in _adders(layer):
                _subtract(model.graph, adder)


def _adders(layer: Node) -> Iterator[Node]:
    for node in list(layer.output.consumers):
        if node.op == "Add" and node.is_standard and node.graph is layer.graph:
            yield node


def _subtract(graph: Graph, adder: Node) -> None:
    """Turn the sum with a constant, stored in integers or not, into a difference."""
    for index, tensor in enumerate(adder.inputs):
        reader = tensor.producer
        is_stored = reader is not None and reader.op == "DequantizeLinear"
        if tensor.constant is not None:
            negative = graph.add_constant(f"{tensor.name}_negative", -tensor.constant)
        elif is_stored and reader.inputs[0].constant is not None and tensor.is_private:
            graph.set_constant(reader, 0, -reader.inputs[0].constant)
            negative = tensor
        else:
            continue
        other, result, name = adder.inputs[1 - index], adder.output, adder.name
        graph.remove(adder)
        graph.add_node("Sub", [other, negative], outputs=[result], name=name or None)
        return
