"""Constants by channel, as layers: a product or sum with one number a channel is a depthwise 1x1 Conv."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphopt.ir import Array, Node, Shape

from .arithmetic import rank


def affine(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """x * c and x + c with c of one number a channel become a depthwise 1x1 Conv: the same float function.

    The integer kernel stores its weights exactly, since each channel has a scale of its own.
    """
    if node.op not in ("Add", "Mul"):
        return False
    index = 0 if node.inputs[1].constant is not None else 1
    constant, source = node.inputs[1 - index].constant, node.inputs[index]
    if constant is None or source.constant is not None or constant.dtype != np.float32:
        return False
    dims = rank(source, shapes)
    values = None if dims not in (3, 4) else _by_channel(constant, dims)
    if values is None or not np.isfinite(values).all() or not _has_channels(node, values.size, shapes):
        return False
    _replace(node, values, dims or 0)
    return True


def _by_channel(constant: Array, dims: int) -> Array | None:
    """The numbers of a constant that has one for each channel of several, or None."""
    full = (1,) * (dims - constant.ndim) + constant.shape
    if len(full) != dims or full[1] == 1 or any(size != 1 for i, size in enumerate(full) if i != 1):
        return None
    values: Array = constant.reshape(-1)
    return values


def _has_channels(node: Node, count: int, shapes: Mapping[str, Shape]) -> bool:
    """Whether the operand has that many channels itself, and is not spread out to them."""
    source = next(t for t in node.inputs if t.constant is None)
    shape = source.shape if source.shape is not None else shapes.get(source.name)
    return shape is not None and shape[1] == count


def _replace(node: Node, values: Array, dims: int) -> None:
    graph, result, name, op = node.graph, node.output, node.name, node.op
    source = next(t for t in node.inputs if t.constant is None)
    base = name or result.name
    weight = values if op == "Mul" else np.ones_like(values)
    shape = (-1, 1, *[1] * (dims - 2))
    inputs = [source, graph.add_constant(f"{base}_weight", weight.reshape(shape))]
    if op == "Add":
        inputs.append(graph.add_constant(f"{base}_bias", values))
    graph.remove(node)
    attrs = {"group": values.size, "kernel_shape": [1] * (dims - 2)}
    graph.add_node("Conv", inputs, attrs, outputs=[result], name=name)
