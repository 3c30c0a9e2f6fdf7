"""Operators without integer kernels, as others that have one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from graphopt.ir import Array, Node, Shape, Tensor

# what a float32 is divided by and its reciprocal both have all their digits
SMALLEST = float(np.finfo(np.float32).tiny)


def rank(tensor: Tensor, shapes: Mapping[str, Shape]) -> int | None:
    """The number of dimensions of a tensor, None when it is not known."""
    shape = tensor.shape if tensor.shape is not None else shapes.get(tensor.name)
    return None if shape is None else len(shape)


def mean(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """ReduceMean over all positions is GlobalAveragePool, flattened where the axes go."""
    if node.op != "ReduceMean" or node.attr("noop_with_empty_axes", 0):
        return False
    axes, dims = _axes(node), rank(node.inputs[0], shapes)
    if axes is None or dims is None or dims < 3:
        return False
    if sorted(axis % dims for axis in axes) != list(range(2, dims)):
        return False
    graph, result = node.graph, node.output
    source, keep = node.inputs[0], bool(node.attr("keepdims", 1))
    name = node.name or None
    graph.remove(node)
    if keep:
        graph.add_node("GlobalAveragePool", [source], outputs=[result], name=name)
        return True
    pooled = graph.add_node("GlobalAveragePool", [source], name=name)
    pooled.output.dtype = source.dtype
    graph.add_node("Flatten", [pooled.output], {"axis": 1}, outputs=[result])
    return True


def _axes(node: Node) -> list[int] | None:
    """The axes a reduction goes over, an attribute before opset 18; None when they are not known."""
    tensor = node.input(1)
    if tensor is None:
        listed = node.attr("axes", None)
        return None if listed is None else [int(axis) for axis in listed]
    return None if tensor.constant is None else [int(axis) for axis in tensor.constant.ravel()]


def subtract(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """x - y is x + (-1) * y, exactly; of a constant the sign changes."""
    if node.op != "Sub":
        return False
    left, right = node.inputs
    if left.constant is not None and right.constant is not None:
        return False
    if right.constant is not None:
        _become(node, "Add", [left, _constant(node, -right.constant, "negated")])
        return True
    negated = _times(node, right, -1.0)
    if negated is None:
        return False
    _become(node, "Add", [left, negated])
    return True


def divide(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """x / c is x * (1 / c), within one rounding of float32."""
    if node.op != "Div" or node.inputs[0].constant is not None:
        return False
    divisor = node.inputs[1].constant
    if divisor is None or divisor.dtype != np.float32 or not np.isfinite(divisor).all():
        return False
    sizes = np.abs(divisor.astype(np.float64))
    if sizes.min(initial=1.0) < SMALLEST or sizes.max(initial=1.0) > 1.0 / SMALLEST:
        return False
    reciprocal = (1.0 / divisor.astype(np.float64)).astype(np.float32)
    _become(node, "Mul", [node.inputs[0], _constant(node, reciprocal, "reciprocal")])
    return True


def prelu(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """PRelu with one slope is LeakyRelu; with slopes up to 1 by channel it is x + relu((slope - 1) * x).

    The second is a depthwise 1x1 Conv, which the runtime fuses with its Relu; equal within one rounding.
    """
    slope = node.inputs[1].constant if node.op == "PRelu" else None
    if slope is None or slope.dtype != np.float32 or slope.size == 0 or not np.isfinite(slope).all():
        return False
    if (slope == slope.flat[0]).all():
        _become(node, "LeakyRelu", [node.inputs[0]], alpha=float(slope.flat[0]))
        return True
    dims = rank(node.inputs[0], shapes)
    if dims not in (3, 4) or slope.max() > 1 or slope.shape != (slope.size, *[1] * (dims - 2)):
        return False
    graph, source = node.graph, node.inputs[0]
    weight = (slope - np.float32(1)).reshape(-1, 1, *[1] * (dims - 2))
    name = node.name or node.output.name
    constant = graph.add_constant(f"{name}_slope", weight)
    scaled = graph.add_node(
        "Conv",
        [source, constant],
        {"group": slope.size, "kernel_shape": [1] * (dims - 2)},
        name=f"{name}_scaled",
    )
    clipped = graph.add_node("Relu", [scaled.output], name=f"{name}_negative")
    scaled.output.dtype = clipped.output.dtype = np.dtype(np.float32)
    _become(node, "Add", [source, clipped.output])
    return True


def _times(node: Node, tensor: Tensor, number: float) -> Tensor | None:
    """A new tensor ``number * tensor``; None unless it is of float32."""
    if tensor.dtype != np.float32 and not _is_computed_float(node):
        return None
    constant = _constant(node, np.float32(number), "minus_one")
    product = node.graph.add_node("Mul", [tensor, constant], name=f"{node.name or node.output.name}_negated")
    product.output.dtype = np.dtype(np.float32)
    result: Tensor = product.output
    return result


def _is_computed_float(node: Node) -> bool:
    """Whether some operand is known to be float32: both have one type."""
    return any(t.dtype == np.float32 for t in (*node.inputs, node.output))


def _constant(node: Node, values: Array, what: str) -> Tensor:
    made: Tensor = node.graph.add_constant(f"{node.name or node.output.name}_{what}", np.asarray(values))
    return made


def _become(node: Node, op: str, inputs: list[Tensor], **attrs: float) -> None:
    """Replace a node by another that makes the same tensor and keeps the name."""
    graph, result, name = node.graph, node.output, node.name
    graph.remove(node)
    graph.add_node(
        op, inputs, {k: v for k, v in attrs.items() if math.isfinite(v)}, outputs=[result], name=name
    )
