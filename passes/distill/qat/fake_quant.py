"""Students that are quantized already: pairs of QuantizeLinear and DequantizeLinear become FakeQuant.

FakeQuant rounds as the pair does and lets gradients pass where nothing is clipped (straight-through:
Y. Bengio, N. Leonard, A. Courville, 2013).  A stored weight becomes a float parameter W,
read as FakeQuant(W / scale) * scale, which gives scales by channel; a stored bias becomes a float parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphopt import ir
from graphopt.ir import Node, Tensor

from ..graph.builder import Builder

DOMAIN = "com.microsoft"
FAKE_QUANT = "FakeQuant"


@dataclass(frozen=True)
class Quantizer:
    """How a parameter is stored: integers of ``dtype`` in the tensor ``stored``, from ``low`` to ``high``.

    ``name`` is the parameter: the tensor that the DequantizeLinear makes.  ``scale`` and ``zero_point``
    broadcast with it.
    """

    name: str
    stored: str
    dtype: np.dtype[Any]
    scale: np.ndarray
    zero_point: np.ndarray
    low: int
    high: int
    is_bias: bool
    scale_shape: tuple[int, ...] = ()  # as the DequantizeLinear has it
    biases: tuple[str, ...] = ()  # parameters that are stored in steps of this one's scale

    @property
    def learns_scale(self) -> bool:
        """Whether the scale is trained too: that of a weight, unless it changes within a channel."""
        return (
            not self.is_bias
            and not np.any(self.zero_point)
            and self.scale.size == math.prod(self.scale_shape)
        )

    @property
    def stretch(self) -> str:
        """The name of the parameter whose exponential the scale is multiplied with."""
        return f"{self.name}::stretch"

    def stretched(self, ratio: np.ndarray) -> Quantizer:
        """The same with other scales; ``ratio`` has one number for each scale, or one for all."""
        flat = np.asarray(ratio, np.float32).ravel()
        scale = (self.scale * flat.reshape(self.scale.shape if flat.size > 1 else ())).astype(np.float32)
        return replace(self, scale=scale)

    def store(self, values: np.ndarray) -> np.ndarray:
        """The integers nearest to float values."""
        steps = np.rint(values.astype(np.float32) / self.scale) + self.zero_point
        return np.clip(steps, self.low, self.high).astype(self.dtype)

    def insert(self, tensor: Tensor | None, graph: ir.Graph, is_trained: bool) -> list[str]:
        """Let the readers of the parameter ``tensor``, or of its masked product, read it rounded.

        Returns the names of new parameters.  The gradient of the scale is that of learned step sizes
        (S. Esser et al., 2020).
        """
        if self.is_bias or tensor is None or not tensor.consumers:
            return []
        if len(tensor.consumers) == 1 and tensor.consumers[0].name.startswith(f"{self.name}.masked"):
            tensor = tensor.consumers[0].output
        readers = list(dict.fromkeys(tensor.consumers))
        to = Builder(graph, f"{self.name}.rounded")
        scale, made = to.tensor(self.scale), []
        if is_trained and self.learns_scale:
            stretch = graph.add_constant(self.stretch, np.zeros_like(self.scale))
            scale, made = to.op("Mul", scale, to.op("Exp", stretch)), [stretch.name]
        rounded = self._rounded(tensor, scale, to)
        for node in readers:
            node.inputs = [rounded if t is tensor else t for t in node.inputs]
        return made

    def _rounded(self, tensor: Tensor, scale: Tensor, to: Builder) -> Tensor:
        steps = to.op("Div", tensor, scale)
        has_zero = bool(np.any(self.zero_point))
        if has_zero:
            steps = to.op("Add", steps, self.zero_point.astype(np.float32))
        steps = fake_quant(steps, 1.0, 0.0, self.low, self.high, to)
        if has_zero:
            steps = to.op("Sub", steps, self.zero_point.astype(np.float32))
        return to.op("Mul", steps, scale)


def fake_quant(tensor: Tensor, scale: float, zero: float, low: int, high: int, to: Builder) -> Tensor:
    """Round to steps of ``scale`` between ``low`` and ``high``."""
    mask = ir.Variable(to.graph.names.unique(f"{to.title}.mask"), np.bool_)
    result = ir.Variable(to.graph.names.unique(f"{to.title}.fakequant"), np.float32)
    inputs = [tensor, to.tensor(np.float32(scale)), to.tensor(np.float32(zero))]
    node = to.graph.add_node(
        FAKE_QUANT,
        inputs,
        {"quant_min": int(low), "quant_max": int(high)},
        outputs=[result, mask],
        name=f"{to.title}.fakequant",
        domain=DOMAIN,
    )
    to.made.add(node)
    return result


def find_quantizers(graph: ir.Graph) -> dict[str, Quantizer]:
    """The constants behind a DequantizeLinear, by the name of what it makes."""
    quantizers = {}
    for node in graph.find("DequantizeLinear"):
        stored, scale = node.inputs[0].constant, node.inputs[1].constant
        if stored is None or scale is None or stored.size < 2 or graph.is_output(node.output):
            continue
        quantizers[node.output.name] = _quantizer(node, stored, scale)
    biases = _biases(graph, quantizers)
    return {name: replace(one, biases=tuple(biases.get(name, ()))) for name, one in quantizers.items()}


def _biases(graph: ir.Graph, quantizers: Mapping[str, Quantizer]) -> dict[str, list[str]]:
    """The stored biases of layers, by the weight: integer kernels add them in steps of its scale."""
    biases: dict[str, list[str]] = {}
    for node in graph.find("Conv", "ConvTranspose", "Gemm"):
        bias = node.input(2)
        if bias is not None and bias.name in quantizers:
            biases.setdefault(node.inputs[1].name, []).append(bias.name)
    return biases


def _quantizer(node: Node, stored: np.ndarray, scale: np.ndarray) -> Quantizer:
    zero_tensor = node.input(2)
    given = None if zero_tensor is None else zero_tensor.constant
    zero = np.zeros_like(scale, np.int64) if given is None else given.astype(np.int64)
    wide = _broadcast(scale.astype(np.float32), stored, node)
    zeros = _broadcast(zero, stored, node)
    is_bias = stored.dtype == np.int32
    steps = stored.astype(np.int64) - zeros
    reach = int(np.abs(steps).max())
    low, high = integer_range(stored.dtype)
    if not is_bias and not np.any(zeros):  # a weight of fewer bits may be stored in a wider type
        low, high = max(low, -reach), min(high, reach)
    return Quantizer(
        node.output.name, node.inputs[0].name, stored.dtype, wide, zeros, low, high, is_bias, scale.shape
    )


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The integers that a type holds; the types of four bits are not numpy's own."""
    ranges = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}
    if dtype.name in ranges:
        return ranges[dtype.name]
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _broadcast(values: np.ndarray, like: np.ndarray, node: Node) -> np.ndarray:
    """Scales by tensor, by channel or by block, shaped to multiply the stored array."""
    if values.size == 1:
        return values.reshape(())
    axis = int(node.attr("axis", 1)) % like.ndim
    block = int(node.attr("block_size", 0))
    if block:
        return np.repeat(values, block, axis=axis)[tuple(slice(size) for size in like.shape)]
    return values.reshape([-1 if i == axis else 1 for i in range(like.ndim)])


def spelled_out(model: ir.Model) -> ir.Model:
    """A copy in which every FakeQuant is written with operators that any runtime has."""
    copy = model.copy()
    graph = copy.graph
    for node in [node for node in graph.nodes if node.op == FAKE_QUANT and node.domain == DOMAIN]:
        to = Builder.of(node, {})
        x, scale, zero = node.inputs
        steps = to.op("Add", to.op("Round", to.op("Div", x, scale)), zero)
        low, high = float(node.attr("quant_min")), float(node.attr("quant_max"))
        kept = to.op("Clip", steps, low, high)
        to.replace(node, to.op("Mul", to.op("Sub", kept, zero), scale))
    graph.sort()
    return copy
