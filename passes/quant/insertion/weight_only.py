"""Weights alone in 8 or 4 bits: smaller files; activations and sums stay float.

Matrices have a scale for each block of inputs and each output, in the standard form of opset 21
(DequantizeLinear with ``block_size``), which onnxruntime fuses into one kernel (MatMulNBits).  The weights
of a Conv have one scale for each output channel, and are read before the float kernel runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from graphopt.ir import Array, Graph, Model, Node, Variable
from graphopt.ir.transform.layer_bias import layer_bias
from graphopt.ir.transform.linear import LAYERS

from ..items import BlockItem, node_id
from ..placement.placement import Refusal
from ..placement.rules import is_product, layer_refusal, weight_axis

OPSETS = {8: 13, 4: 21}  # of scales by channel, and of 4-bit integers
BLOCK_OPSET = 21  # fixed: of DequantizeLinear with blocks
LARGEST = {8: 127, 4: 7}
FRACTIONS = np.linspace(0.7, 1.0, 13)  # of the largest weight, tried as the end of the grid
SMALLEST = 2.0**-60  # fixed: scale of zeros; its products stay normal float32
# fixed: times that the new parts of a file hold a weight's name, and bytes of them besides
NAMED, FRAMED = 7, 150


@dataclass(frozen=True)
class Stored:
    """Integers with their scales, float32, along one axis (blocks of it, or all of it)."""

    values: Array
    scale: Array


def place_weights(
    model: Model, refused: Refusal, bits: int, block: int
) -> Iterator[BlockItem | tuple[Node, str]]:
    """The layers whose weights are stored, and the others with their reasons."""
    for node in model.graph.nodes:
        if node.op not in LAYERS or not node.is_standard:
            continue
        reason = refused(node) or layer_refusal(node)
        if reason is None and not is_product(node):
            reason = "its alpha or beta is not 1, or it reads its input transposed"
        if reason is None and node.inputs[1].constant.ndim < 2:
            reason = "its weights are a vector"
        if reason is not None:
            yield node, reason
            continue
        size = _block(node, block)
        if weight_bytes_saved(node, bits, size) <= 0:
            yield node, "its weights are so few that their scales and nodes weigh more than integers save"
        else:
            yield BlockItem(node_id(node), node.inputs[1].name, bits, size)


def weight_bytes_saved(node: Node, bits: int, block: int) -> int:
    """About how many bytes a file loses when a layer's weight is stored in integers; negative when it grows.

    Besides integers and float32 scales there are a DequantizeLinear and two initializers with their names.
    """
    name, weight = node.inputs[1].name, node.inputs[1].constant
    assert weight is not None  # the layer was not refused
    channels = weight.shape[-1] if node.op == "MatMul" else weight.shape[weight_axis(node)]
    scales = -(-(weight.size // max(channels, 1)) // block) * channels if block else channels
    nodes = NAMED * len(name) + FRAMED
    return int(weight.nbytes - weight.size * bits // 8 - 4 * scales - nodes)


def _block(node: Node, block: int) -> int:
    """The inputs that share a scale: a smaller block where only that divides them, as the kernel wants it."""
    if node.op not in ("Gemm", "MatMul"):
        return 0
    weight = node.inputs[1].constant
    assert weight is not None  # the layer was not refused
    is_transposed = node.op == "Gemm" and node.attr("transB", 0)
    rows = weight.shape[-1] if is_transposed else weight.shape[-2]
    fitting = [size for size in (block, *(b for b in (128, 64, 32, 16) if b < block)) if rows % size == 0]
    return fitting[0] if fitting else block


def opset_for(bits: int, items: list[BlockItem]) -> int:
    """The opset that the items need."""
    return BLOCK_OPSET if any(item.block for item in items) else OPSETS[bits]


def store_weights(graph: Graph, node: Node, item: BlockItem) -> None:
    """Let a layer read its weight from integers."""
    weight = node.inputs[1].constant
    if item.block:
        if node.op == "Gemm":
            weight = weight.T if node.attr("transB", 0) else weight
            node = _as_product(graph, node)
        elif (bias := layer_bias(node)) is not None:
            _keep_apart(graph, bias.node)
        stored = quantize_blocks(weight, item.bits, item.block)
        attrs = {"axis": weight.ndim - 2, "block_size": item.block}
    else:
        axis = weight_axis(node)
        stored = quantize_channels(weight, item.bits, axis)
        attrs = {"axis": axis}
    node.inputs[1] = _read(graph, item.weight, stored, attrs)


def quantize_blocks(weight: Array, bits: int, block: int) -> Stored:
    """Store a matrix (..., K, N) with a scale for every ``block`` rows and each column."""
    rows = weight.shape[-2]
    count = -(-rows // block)
    padding = [(0, 0)] * (weight.ndim - 2) + [(0, count * block - rows), (0, 0)]
    blocks = np.pad(weight.astype(np.float64), padding)
    blocks = blocks.reshape(*weight.shape[:-2], count, block, weight.shape[-1])
    values, scale = _nearest(blocks, bits, -2)
    values = values.reshape(*weight.shape[:-2], count * block, weight.shape[-1])[..., :rows, :]
    return Stored(_integers(values, bits), scale.squeeze(-2).astype(np.float32))


def quantize_channels(weight: Array, bits: int, axis: int) -> Stored:
    """Store a weight with a scale for each index of ``axis``."""
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    values, scale = _nearest(rows, bits, -1)
    moved = (weight.shape[axis], *(s for i, s in enumerate(weight.shape) if i != axis))
    values = np.moveaxis(values.reshape(moved), 0, axis)
    return Stored(_integers(values, bits), scale.ravel().astype(np.float32))


def _nearest(weight: Array, bits: int, axis: int) -> tuple[Array, Array]:
    """Nearest integers with the scale along ``axis`` that has the least squared error of those tried."""
    largest = np.abs(weight).max(axis=axis, keepdims=True)
    made = scale = least = np.zeros(())
    for fraction in FRACTIONS if bits < 8 else (1.0,):
        tried = np.float32(largest * fraction / LARGEST[bits])
        tried = np.maximum(tried, np.float32(SMALLEST)).astype(np.float64)
        values = np.clip(np.rint(weight / tried), -LARGEST[bits], LARGEST[bits])
        error = np.square(weight - values * tried).sum(axis=axis, keepdims=True)
        if made.ndim == 0:
            made, scale, least = values, tried, error
        better = error < least
        made, scale = np.where(better, values, made), np.where(better, tried, scale)
        least = np.minimum(least, error)
    return made, scale


def _integers(values: Array, bits: int) -> Array:
    made: Array = np.ascontiguousarray(values.astype(np.int8))
    return made.astype(ml_dtypes.int4) if bits == 4 else made


def _read(graph: Graph, name: str, stored: Stored, attrs: dict[str, int]) -> Variable:
    inputs = [
        graph.add_constant(f"{name}_quantized", stored.values),
        graph.add_constant(f"{name}_scale", stored.scale),
    ]
    result = Variable(graph.names.unique(f"{name}_dequantized"), np.float32, stored.values.shape)
    graph.add_node("DequantizeLinear", inputs, attrs, outputs=[result], name=name)
    return result


def _as_product(graph: Graph, node: Node) -> Node:
    """A Gemm as a MatMul, which the runtime has a kernel for, and its bias; the weight is yet to be set."""
    bias, source, result = node.input(2), node.inputs[0], node.output
    name, weight = node.name, node.inputs[1]
    graph.remove(node)
    if bias is None:
        return graph.add_node("MatMul", [source, weight], outputs=[result], name=name)
    product = graph.add_node("MatMul", [source, weight], name=name)
    product.output.dtype = np.dtype(np.float32)
    adder = graph.add_node("Add", [product.output, bias], outputs=[result], name=f"{name or 'Gemm'}_bias")
    _keep_apart(graph, adder)
    return product


def _keep_apart(graph: Graph, adder: Node) -> None:
    """Subtract a negated constant instead of adding it.

    Of MatMul and Add onnxruntime makes a float Gemm before it looks for stored weights; not with Sub.
    """
    index = 0 if adder.inputs[0].constant is not None else 1
    bias, product, result, name = adder.inputs[index], adder.inputs[1 - index], adder.output, adder.name
    if bias.constant is None:
        return
    negative = graph.add_constant(f"{bias.name}_negative", -bias.constant)
    graph.remove(adder)
    graph.add_node("Sub", [product, negative], outputs=[result], name=name or None)
