"""Which constants of a model are its parameters, and how many elements they have."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphopt.ir import Constant

if TYPE_CHECKING:
    import numpy as np

    from graphopt.ir import Model, Node, Tensor

# inputs that hold integers in place of float weights, and those that only say how to read them
_INTEGER_WEIGHTS = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
}
_SCALES = {
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QuantizeLinear": (1,),
}


def parameters(model: Model) -> int:
    """Elements of all constant weights: floats, and the integers that stand for floats in quantised layers.

    Scales and zero points are no parameters, so quantising leaves the number as it is.  A constant that
    several nodes share counts once.
    """
    nodes = [node for graph in model.graphs() for node in graph.nodes]
    integers = {tensor for node in nodes for tensor in _inputs(node, _INTEGER_WEIGHTS)}
    scales = {tensor for node in nodes for tensor in _inputs(node, _SCALES)}
    return sum(
        elements(tensor)
        for tensor in _constants(model)
        if tensor in integers or (is_float(tensor) and tensor not in scales)
    )


def node_parameters(node: Node) -> int:
    """Elements of the constant weights that one node reads, directly or through a DequantizeLinear."""
    scales = set(_inputs(node, _SCALES))
    integers = set(_inputs(node, _INTEGER_WEIGHTS))
    total = 0
    for tensor in dict.fromkeys(node.inputs):
        source = dequantised(tensor)
        if tensor in scales or not is_constant(source):
            continue
        if source is not tensor or tensor in integers or is_float(source):
            total += elements(source)
    return total


def dequantised(tensor: Tensor) -> Tensor:
    """The integers behind a tensor that a DequantizeLinear produces, else the tensor itself."""
    node = tensor.producer
    return node.inputs[0] if node is not None and node.op == "DequantizeLinear" else tensor


def is_constant(tensor: Tensor) -> bool:
    return isinstance(tensor, Constant) or tensor.constant is not None


def is_float(tensor: Tensor) -> bool:
    """Whether a constant has a floating type, the narrow ones (bfloat16, float8) included."""
    value = None if isinstance(tensor, Constant) else tensor.constant
    dtype = tensor.dtype if value is None else value.dtype
    return dtype is not None and _is_float_type(dtype)


@functools.cache
def _is_float_type(dtype: np.dtype[Any]) -> bool:
    return "float" in dtype.name


def elements(tensor: Tensor) -> int:
    """Number of elements of a constant, or of an initializer that callers may override."""
    value = None if isinstance(tensor, Constant) else tensor.constant
    shape = value.shape if value is not None else tensor.shape or ()
    return math.prod(dim for dim in shape if isinstance(dim, int))


def _constants(model: Model) -> Iterator[Tensor]:
    for graph in model.graphs():
        yield from graph.initializers
        for node in graph.find("Constant"):
            yield node.output


def _inputs(node: Node, positions: dict[str, tuple[int, ...]]) -> Iterator[Tensor]:
    for index in positions.get(node.op, ()) if node.is_standard else ():
        tensor = node.input(index)
        if tensor is not None:
            yield tensor
