"""Multiply-accumulate operations of one node, from the shapes around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from graphopt.ir import Node, Tensor

Dims: TypeAlias = "tuple[int, ...]"
ShapeOf: TypeAlias = "Callable[[Tensor | None], Dims | None]"

# standard operators that multiply and accumulate in a way nobody counts here
UNCOUNTED = frozenset({"Attention", "DFT", "Einsum", "GRU", "LSTM", "RNN", "STFT"})


def macs(node: Node, shape: ShapeOf) -> int | None:
    """Multiply-accumulates of a node; 0 for operators without any, None when they cannot be determined.

    Element-wise operators, pooling and data movement count as 0; operators outside ONNX are never assumed to.
    """
    if not node.is_standard or node.op in UNCOUNTED:
        return None
    counter = _COUNTERS.get(node.op)
    return counter(node, shape) if counter is not None else 0


def counts_macs(node: Node) -> bool:
    """Whether the operator multiplies and accumulates, or may."""
    return not node.is_standard or node.op in UNCOUNTED or node.op in _COUNTERS


def _convolution(weight: int) -> Callable[[Node, ShapeOf], int | None]:
    """Each output element reads one (in / group, *kernel) slice of the weight [out, in / group, *kernel]."""

    def count(node: Node, shape: ShapeOf) -> int | None:
        output, kernel = shape(node.output), shape(node.input(weight))
        return None if output is None or kernel is None else math.prod(output) * math.prod(kernel[1:])

    return count


def _transposed_convolution(node: Node, shape: ShapeOf) -> int | None:
    """Each input element meets one (out / group, *kernel) slice of the weight [in, out / group, *kernel]."""
    source, kernel = shape(node.input(0)), shape(node.input(1))
    return None if source is None or kernel is None else math.prod(source) * math.prod(kernel[1:])


def _product(left: int) -> Callable[[Node, ShapeOf], int | None]:
    """Each output element of a matrix product is a sum over the last axis of the left operand."""

    def count(node: Node, shape: ShapeOf) -> int | None:
        output, operand = shape(node.output), shape(node.input(left))
        if output is None or operand is None:
            return None
        return math.prod(output) * (operand[-1] if operand else 1)

    return count


def _gemm(node: Node, shape: ShapeOf) -> int | None:
    output, left = shape(node.output), shape(node.input(0))
    if output is None or left is None:
        return None
    return math.prod(output) * left[0 if node.attr("transA", 0) else 1]


_COUNTERS: dict[str, Callable[[Node, ShapeOf], int | None]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _convolution(1),
    "Gemm": _gemm,
    "MatMul": _product(0),
    "MatMulInteger": _product(0),
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _product(0),
}
