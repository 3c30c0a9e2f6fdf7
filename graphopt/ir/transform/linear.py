"""Linear layers and the affine maps, one scale and shift per channel, that they can absorb.

For a layer ``y = W x + b``::

    scale * y + shift        =  (scale W) x + (scale b + shift)         after the layer
    W (scale * x + shift)    =  (W scale) x + (W shift + b)             before it, where nothing is padded

Shared by every pass that folds: batch normalisation, constant multiplications, bias additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.ir.graph import Graph, Node
from graphopt.ir.io.weights import Array
from graphopt.ir.tensor import Tensor

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class LinearLayer:
    """A Conv, ConvTranspose, Gemm or MatMul with constant weights, and the Add that biases a MatMul."""

    node: Node
    weight: Array
    bias: Array | None  # as it enters the sum: 1-d, or 2-d (rows or 1, channels) for a Gemm
    adder: Node | None = None

    @property
    def result(self) -> Tensor:
        """The tensor that carries the layer's output, bias included."""
        return (self.adder or self.node).output

    @property
    def groups(self) -> int:
        """Number of groups of a convolution; 1 for the others."""
        return int(self.node.attr("group", 1)) if self.node.op.startswith("Conv") else 1

    @property
    def channels(self) -> int:
        """Number of output channels."""
        if self.node.op == "Conv":
            return int(self.weight.shape[0])
        if self.node.op == "ConvTranspose":
            return int(self.weight.shape[1]) * self.groups
        return int(self.weight.shape[0 if self.node.attr("transB", 0) else -1])

    @property
    def input_channels(self) -> int:
        """Number of input channels."""
        if self.node.op == "Conv":
            return int(self.weight.shape[1]) * self.groups
        if self.node.op == "ConvTranspose":
            return int(self.weight.shape[0])
        return int(self.weight.shape[1 if self.node.attr("transB", 0) else 0])

    @property
    def trailing(self) -> int:
        """How many axes follow the channel axis in the output."""
        return self.weight.ndim - 2 if self.node.op.startswith("Conv") else 0

    def per_channel(self, constant: Array) -> Array | None:
        """Return ``constant`` as one number for each output channel, when it broadcasts so; float64."""
        # The rank of a MatMul's output is not known here.
        limit = 1 if self.node.op == "MatMul" else self.trailing + 2
        axis = constant.ndim - 1 - self.trailing
        others = [size for index, size in enumerate(constant.shape) if index != axis]
        if constant.ndim > limit or any(size != 1 for size in others):
            return None
        if constant.size not in (1, self.channels):
            return None
        return np.broadcast_to(constant.astype(np.float64).ravel(), (self.channels,))


def as_layer(node: Node | None) -> LinearLayer | str:
    """Return a node as a linear layer, or the reason why its weights cannot be edited."""
    if node is None or not node.is_standard or node.op not in LAYERS:
        return "nothing before it can absorb a scale"
    weight = node.inputs[1].constant
    if weight is None:
        return f"{node.inputs[1].name} can change at run time"
    bias_tensor = node.input(2)
    bias = None if bias_tensor is None else bias_tensor.constant
    if bias_tensor is not None and bias is None:
        return f"{bias_tensor.name} can change at run time"
    if weight.dtype.kind != "f":
        return f"{node.inputs[1].name} is not a floating-point weight"
    if node.op == "MatMul" and weight.ndim != 2:
        return f"{node.inputs[1].name} is not a matrix"
    if node.op == "Gemm":
        return _gemm(node, weight, bias)
    return LinearLayer(node, weight, bias)


def _gemm(node: Node, weight: Array, bias: Array | None) -> LinearLayer | str:
    """A Gemm's alpha goes into the weight and its beta into the bias."""
    if bias is not None:
        rows = np.atleast_2d(bias)
        if rows.shape[0] > 1 and rows.shape[1] == 1:
            return "its Gemm has a bias per row"
        bias = float(node.attr("beta", 1.0)) * bias.astype(np.float64)
    return LinearLayer(node, float(node.attr("alpha", 1.0)) * weight.astype(np.float64), bias)


def biased_matmul(node: Node | None) -> LinearLayer | None:
    """Return the MatMul behind an Add of a constant row, with that Add as its bias."""
    if node is None or node.op != "Add" or not node.is_standard:
        return None
    for place, tensor in enumerate(node.inputs):
        constant = node.inputs[1 - place].constant
        layer = as_layer(tensor.producer) if constant is not None and tensor.is_private else ""
        if isinstance(layer, LinearLayer) and layer.node.op == "MatMul" and constant is not None:
            row = constant.ndim <= 1 or (constant.ndim == 2 and constant.shape[0] == 1)
            if row and constant.size in (1, layer.channels):
                return LinearLayer(layer.node, layer.weight, constant.ravel(), adder=node)
    return None


def absorb_after(graph: Graph, layer: LinearLayer, scale: Array | None, shift: Array | None) -> bool:
    """Let ``layer`` produce ``scale * y + shift``; both are float64 of shape (channels,), None for none.

    A MatMul takes a shift only through its ``adder``.  Returns False, and changes nothing, where the weights
    would leave the range of their type.
    """
    weight = bias = None
    if scale is not None:
        weight = layer.weight * _along_outputs(scale, layer)
    elif layer.node.op == "Gemm":
        weight = layer.weight
    if layer.bias is not None or shift is not None:
        bias = np.zeros(1) if layer.bias is None else layer.bias.astype(np.float64)
        bias = (bias if scale is None else bias * scale) + (0 if shift is None else shift)
    return _store(graph, layer, weight, bias)


def absorb_before(graph: Graph, layer: LinearLayer, scale: Array, shift: Array) -> bool:
    """Let ``layer`` read ``x`` where it read ``scale * x + shift``; both of shape (input channels,).

    Exact only where the layer pads nothing or ``shift`` is zero.  Returns False, and changes nothing, where
    the weights would leave the range of their type.
    """
    per_weight = _along_inputs(shift, layer) * layer.weight
    outputs = _output_axis(layer)
    moved = np.moveaxis(per_weight, outputs, 0).reshape(per_weight.shape[outputs], -1)
    constant = moved.sum(axis=1, dtype=np.float64)
    weight, bias = _along_inputs(scale, layer) * layer.weight, None
    if layer.bias is not None or np.any(constant):
        bias = (np.zeros(1) if layer.bias is None else layer.bias.astype(np.float64)) + constant
    return _store(graph, layer, weight, bias)


def fits(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether every value is finite in a floating-point type."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype)).all())


def _along_outputs(scale: Array, layer: LinearLayer) -> Array:
    """Shape ``scale`` so that it multiplies the weight output channel by output channel."""
    weight = layer.weight
    spatial = (1,) * (weight.ndim - 2)
    if layer.node.op == "Conv":  # (out, in / group, *kernel)
        return scale.reshape(-1, 1, *spatial)
    if layer.node.op == "ConvTranspose":  # (in, out / group, *kernel): each group has its own columns
        rows = scale.reshape(layer.groups, -1).repeat(weight.shape[0] // layer.groups, axis=0)
        return rows.reshape(*rows.shape, *spatial)
    return scale.reshape(-1, 1) if layer.node.attr("transB", 0) else scale


def _along_inputs(scale: Array, layer: LinearLayer) -> Array:
    """Shape ``scale`` so that it multiplies the weight input channel by input channel."""
    weight = layer.weight
    spatial = (1,) * (weight.ndim - 2)
    if layer.node.op == "Conv":  # (out, in / group, *kernel): each group of rows reads its own channels
        rows = scale.reshape(layer.groups, -1).repeat(weight.shape[0] // layer.groups, axis=0)
        return rows.reshape(*rows.shape, *spatial)
    return scale if layer.node.attr("transB", 0) else scale.reshape(-1, 1)


def _output_axis(layer: LinearLayer) -> int:
    if layer.node.op == "Conv":
        return 0
    return 0 if layer.node.attr("transB", 0) else 1


def _store(graph: Graph, layer: LinearLayer, weight: Array | None, bias: Array | None) -> bool:
    """Give a layer new weights, when they fit its type."""
    dtype = layer.node.inputs[1].constant.dtype
    if not all(fits(values, dtype) for values in (weight, bias) if values is not None):
        return False
    if weight is not None:
        _store_weight(graph, layer, weight)
    if bias is not None:
        _store_bias(graph, layer, bias)
    return True


def _store_weight(graph: Graph, layer: LinearLayer, weight: Array) -> None:
    dtype = layer.node.inputs[1].constant.dtype
    graph.set_constant(layer.node, 1, weight.astype(dtype))
    if layer.node.op == "Gemm" and layer.node.attr("alpha", 1.0) != 1.0:
        layer.node.attrs["alpha"] = 1.0


def _store_bias(graph: Graph, layer: LinearLayer, bias: Array) -> None:
    dtype = layer.node.inputs[1].constant.dtype
    if layer.node.op != "Gemm" and bias.shape != (layer.channels,):
        bias = np.broadcast_to(bias.ravel(), (layer.channels,))
    values = np.ascontiguousarray(bias.astype(dtype))
    if layer.adder is not None:
        graph.set_constant(layer.adder, _constant_place(layer.adder), values)
        return
    if layer.node.op == "MatMul":  # of matrices, as the caller has made sure: only a Gemm has a bias
        layer.node.op = "Gemm"
    graph.set_constant(layer.node, 2, values)
    if layer.node.op == "Gemm" and layer.node.attr("beta", 1.0) != 1.0:
        layer.node.attrs["beta"] = 1.0


def _constant_place(adder: Node) -> int:
    places: Sequence[int] = [i for i, tensor in enumerate(adder.inputs) if tensor.constant is not None]
    return places[0]
