"""A quantized model as a float one with rounded weights, and the scales of its layers.

Backends whose converters do not read pairs get the same numbers in this form: weights that are products of
integers and scales, and what is stored of a layer's input in a file beside the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array, Graph, Model, Node, Tensor
from graphopt.ir.transform.linear import LAYERS


@dataclass(frozen=True)
class StoredLayer:
    """A layer on integers: int8 ``values`` with outputs first, and a float32 scale for each of them.

    ``input_scale`` and ``zero_point`` are those of what it reads.
    """

    name: str
    values: Array
    scales: Array
    input_scale: float
    zero_point: int


def float_form(model: Model) -> tuple[Model, list[StoredLayer]]:
    """A float copy of the model, and its layers whose inputs and weights were stored, in their order."""
    made = model.copy()
    layers = [layer for node in made.graph.nodes if (layer := _stored_layer(node)) is not None]
    for graph in list(made.graphs()):
        _without_pairs(graph)
    return made, layers


def has_pairs(model: Model) -> bool:
    """Whether anything in a model is quantized."""
    return any(node.op == "DequantizeLinear" for graph in model.graphs() for node in graph.nodes)


def _stored_layer(node: Node) -> StoredLayer | None:
    if node.op not in LAYERS or not node.is_standard:
        return None
    read, weight = (tensor.producer for tensor in node.inputs[:2])
    if read is None or weight is None or {read.op, weight.op} != {"DequantizeLinear"}:
        return None
    values, scale, input_scale = weight.inputs[0].constant, weight.inputs[1].constant, read.inputs[1].constant
    if values is None or scale is None or input_scale is None or input_scale.size != 1:
        return None
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attr("transB", 0)):
        values = values.T  # (in, out)
    scales = np.broadcast_to(np.ravel(scale), (values.shape[0],)) if scale.size == 1 else np.ravel(scale)
    zero = read.input(2)
    zero_point = 0 if zero is None or zero.constant is None else int(zero.constant.item())
    return StoredLayer(
        str(node.output.name), values, scales.astype(np.float32), float(input_scale.item()), zero_point
    )


def _without_pairs(graph: Graph) -> None:
    for node in [n for n in graph.nodes if n.op == "DequantizeLinear" and n.is_standard]:
        constant = node.inputs[0].constant
        source = node.inputs[0].producer
        if constant is not None:
            product = _product(node, constant)
            graph.replace_uses(node.output, graph.add_constant(f"{node.output.name}_float", product))
            graph.remove(node)
        elif source is not None and source.op == "QuantizeLinear":
            if graph.is_output(node.output):
                graph.add_node("Identity", [source.inputs[0]], outputs=[_taken(node)])
            else:
                graph.replace_uses(node.output, source.inputs[0])
            graph.remove(node)
    graph.remove_dead()
    graph.remove_unused_initializers()
    graph.sort()


def _taken(node: Node) -> Tensor:
    """The result of a node, which makes it no longer."""
    result: Tensor = node.output
    node.outputs = []
    return result


def _product(node: Node, values: Array) -> Array:
    """What a DequantizeLinear of a constant gives, in float32."""
    scale, zero = node.inputs[1].constant, node.input(2)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[int(node.attr("axis", 1))] = scale.size
    zeros = None if zero is None else zero.constant
    offset = np.zeros(1, np.float32) if zeros is None else np.ravel(zeros).astype(np.float32)
    centred = values.astype(np.float32) - offset.reshape(shape if offset.size > 1 else [1] * values.ndim)
    return np.asarray(centred * scale.astype(np.float32).reshape(shape), np.float32)
