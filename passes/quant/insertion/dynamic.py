"""Activations quantized while the model runs: no calibration, and a range for every input it sees.

x becomes uint8 by DynamicQuantizeLinear, its product with int8 weights is summed in int32 (MatMulInteger,
ConvInteger), and one multiplication with both scales makes it float again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphopt.ir import Array, Graph, Model, Node, Tensor, Variable
from graphopt.targets import Target

from ..items import DynamicItem, node_id
from ..placement.placement import Refusal
from ..placement.rules import is_product, layer_refusal, weight_axis
from .weights import quantize_weight

LAYERS = ("Conv", "Gemm", "MatMul")
OPSET = 11  # fixed: from which DynamicQuantizeLinear exists


def place_dynamic(
    model: Model, refused: Refusal, target: Target, per_channel: bool, limit: int
) -> Iterator[DynamicItem | tuple[Node, str]]:
    """The layers that are quantized, and the others with their reasons."""
    for node in model.graph.nodes:
        if not node.is_standard or node.op not in (*LAYERS, "ConvTranspose"):
            continue
        reason = refused(node) or _refusal(node, target)
        if reason is not None:
            yield node, reason
        else:
            axis = weight_axis(node) if per_channel else None
            yield DynamicItem(node_id(node), node.inputs[1].name, axis, limit)


def _refusal(node: Node, target: Target) -> str | None:
    if node.op not in LAYERS:
        return f"there is no integer operator for {node.op}"
    if node.op not in target.allowed.dynamic:
        return f"{target.runtime} computes {node.op} with ranges found at run time far slower than in float"
    if not is_product(node):
        return "its alpha or beta is not 1, or it reads its input transposed"
    reason = layer_refusal(node)
    if reason is None and node.op == "MatMul" and node.inputs[1].constant.ndim != 2:
        return "its weights are not a matrix"
    return reason


class DynamicSurgery:
    """Puts the integer operators of a plan into a graph; an input that several layers read is stored once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.stored: dict[Tensor, tuple[Tensor, Tensor, Tensor]] = {}

    def insert(self, node: Node, item: DynamicItem) -> None:
        """Replace one layer."""
        weight, axis = node.inputs[1].constant, item.axis
        if node.op == "Gemm" and node.attr("transB", 0):
            weight, axis = weight.T, None if axis is None else 1
        made = quantize_weight(np.ascontiguousarray(weight), axis, item.limit)
        name = node.name or node.output.name
        stored = self.graph.add_constant(f"{item.weight}_quantized", made.values)
        zero = self.graph.add_constant(f"{item.weight}_zero_point", np.zeros((), np.int8))
        values, scale, zero_point = self._input(node.inputs[0])
        op = "ConvInteger" if node.op == "Conv" else "MatMulInteger"
        attrs = dict(node.attrs) if node.op == "Conv" else {}
        bias, result = node.input(2), node.output
        self.graph.remove(node)
        sums = self._add(op, [values, stored, zero_point, zero], f"{name}_sum", np.int32, **attrs)
        real = self._add("Cast", [sums], f"{name}_real", np.float32, to=1)
        ndim = made.values.ndim if op == "ConvInteger" else 0
        weight_scale = self.graph.add_constant(f"{item.weight}_scale", _scales(made.scale, ndim))
        both = self._add("Mul", [scale, weight_scale], f"{name}_scales", np.float32)
        self._finish([real, both], bias, result, name, ndim)

    def _finish(
        self, factors: list[Tensor], bias: Tensor | None, result: Tensor, name: str, ndim: int
    ) -> None:
        if bias is None:
            self.graph.add_node("Mul", factors, outputs=[result], name=name)
            return
        product = self._add("Mul", factors, f"{name}_product", np.float32)
        if ndim and bias.constant is not None:
            values = bias.constant.reshape(-1, *[1] * (ndim - 2))
            bias = self.graph.add_constant(f"{bias.name}_by_channel", values)
        self.graph.add_node("Add", [product, bias], outputs=[result], name=name)

    def _input(self, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if tensor not in self.stored:
            names = (f"{tensor.name}_{part}" for part in ("quantized", "scale", "zero_point"))
            types = (np.uint8, np.float32, np.uint8)
            unique = self.graph.names.unique
            parts = [Variable(unique(n), t) for n, t in zip(names, types, strict=True)]
            self.graph.add_node(
                "DynamicQuantizeLinear", [tensor], outputs=parts, name=f"{tensor.name}_quantize"
            )
            self.stored[tensor] = (parts[0], parts[1], parts[2])
        return self.stored[tensor]

    def _add(self, op: str, inputs: list[Tensor], name: str, dtype: type, **attrs: object) -> Variable:
        result = Variable(self.graph.names.unique(name), dtype)
        self.graph.add_node(op, inputs, attrs, outputs=[result], name=name)
        return result


def _scales(scale: Array, ndim: int) -> Array:
    """Scales shaped so that they multiply sums channel by channel."""
    made: Array = scale.astype(np.float32)
    return made.reshape(1, -1, *[1] * (ndim - 2)) if made.size > 1 and ndim else made.reshape(-1)
