"""Open the pairs of QuantizeLinear and DequantizeLinear in a student: real values, rounded by FakeQuant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.errors import PassError
from graphopt.ir import Node, Tensor, Variable

from ..graph.builder import Builder
from ..graph.fixed import Shapes
from .fake_quant import DOMAIN, Quantizer, fake_quant, integer_range


def open_pairs(model: ir.Model, quantizers: dict[str, Quantizer], shapes: Shapes) -> None:
    """Replace stored constants by float ones, and pairs on activations by FakeQuant; ``shapes`` grows along.

    Raises PassError for an integer operator between the two that is not known.
    """
    graph = model.graph
    if not any(True for _ in graph.find("QuantizeLinear", "DequantizeLinear")):
        return
    for node in list(graph.find("DequantizeLinear")):
        quantizer = quantizers.get(node.output.name)
        if quantizer is not None:
            stored = _value(node, 0).astype(np.float32)
            _become_constant(graph, node, (stored - quantizer.zero_point) * quantizer.scale)
        elif node.inputs[0].constant is not None and node.inputs[1].constant is not None:
            _become_constant(graph, node, _dequantized(node))
    model.set_opset(1, DOMAIN)
    _Pairs(graph, shapes).open()
    graph.remove_dead()
    graph.remove_unused_initializers()
    graph.sort()


def _dequantized(node: Node) -> np.ndarray:
    stored, scale = _value(node, 0), _value(node, 1)
    zero_tensor = node.input(2)
    zero = 0 if zero_tensor is None else _value(node, 2).astype(np.float32)
    return (stored.astype(np.float32) - zero) * scale.astype(np.float32)


def _become_constant(graph: ir.Graph, node: Node, values: np.ndarray) -> None:
    tensor = node.output
    graph.remove(node)
    made = tensor.to_constant(np.ascontiguousarray(values.astype(np.float32)).reshape(values.shape))
    made.graph = graph
    graph.initializers.append(made)


@dataclass(frozen=True)
class _Stored:
    """What stands for an integer tensor: its real values, and the scale and zero point they have."""

    real: Tensor
    scale: float
    zero: float


MOVERS = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "MaxPool", "Slice", "Gather", "Identity")


class _Pairs:
    """Follows integer tensors from QuantizeLinear to DequantizeLinear."""

    def __init__(self, graph: ir.Graph, shapes: Shapes) -> None:
        self._graph, self._shapes = graph, shapes
        self._stored: dict[Tensor, _Stored] = {}

    def open(self) -> None:
        """Rewrite all nodes in order."""
        self._graph.sort()
        for node in list(self._graph.nodes):
            if node.op == "QuantizeLinear" and node.is_standard:
                self._quantize(node)
            elif node.inputs and node.inputs[0] in self._stored:
                self._read(node)

    def _quantize(self, node: Node) -> None:
        scale, zero_tensor = node.inputs[1].constant, node.input(2)
        zero = np.uint8(0) if zero_tensor is None else zero_tensor.constant
        if scale is None or zero is None or np.size(scale) != 1:
            raise _refusal(node, "has a scale for each channel or one that is computed")
        low, high = integer_range(np.asarray(zero).dtype)
        to = Builder(self._graph, node.name or node.output.name)
        number, offset = float(np.asarray(scale).item()), float(np.asarray(zero).astype(np.int64).item())
        real = fake_quant(node.inputs[0], number, offset, low, high, to)
        self._shapes[real.name] = self._shapes[node.output.name]
        self._stored[node.output] = _Stored(real, number, offset)

    def _read(self, node: Node) -> None:
        stored = self._stored[node.inputs[0]]
        if node.op == "DequantizeLinear":
            self._dequantize(node, stored)
        elif node.op in MOVERS:
            self._carry(node, [stored.real, *node.inputs[1:]], stored)
        elif node.op == "Pad":
            self._pad(node, stored)
        else:
            raise _refusal(node, "computes on integers")

    def _dequantize(self, node: Node, stored: _Stored) -> None:
        scale, zero_tensor = node.inputs[1].constant, node.input(2)
        zero = np.zeros(1) if zero_tensor is None else zero_tensor.constant
        if scale is None or zero is None or np.ptp(scale) or np.ptp(np.asarray(zero).astype(np.int64)):
            raise _refusal(node, "has scales that differ or are computed")
        number, offset = float(np.ravel(scale)[0]), float(np.ravel(zero)[0])
        to = Builder(self._graph, node.name or node.output.name)
        result = stored.real
        if (number, offset) != (stored.scale, stored.zero):
            shift = (stored.zero - offset) * number
            result = to.op("Mul", result, number / stored.scale)
            result = to.op("Add", result, shift) if shift else result
            self._shapes[result.name] = self._shapes[node.output.name]
        if self._graph.is_output(node.output):
            to.replace(node, result)
            return
        self._graph.replace_uses(node.output, result)
        self._graph.remove(node)

    def _pad(self, node: Node, stored: _Stored) -> None:
        """Integer padding with some number is padding with the real value of that number."""
        given = node.input(2)
        number = 0.0 if given is None else float(_value(node, 2).astype(np.int64).item())
        value = self._graph.add_constant(
            f"{node.name}.value", np.float32((number - stored.zero) * stored.scale)
        )
        self._carry(node, [stored.real, node.inputs[1], value, *node.inputs[3:]], stored)

    def _carry(self, node: Node, inputs: list[Tensor], stored: _Stored) -> None:
        """Let a node work on real values; readers of its integers are still to come."""
        integers, real = (
            node.output,
            Variable(self._graph.names.unique(f"{node.output.name}.real"), np.float32),
        )
        node.inputs = inputs
        node.outputs = [real]
        real.graph = self._graph
        self._shapes[real.name] = self._shapes[integers.name]
        self._stored[integers] = _Stored(real, stored.scale, stored.zero)


def _value(node: Node, index: int) -> np.ndarray:
    """An input that has to be a constant."""
    value = node.inputs[index].constant
    if value is None:
        raise _refusal(node, f"computes {node.inputs[index].name}")
    return value


def _refusal(node: Node, what: str) -> PassError:
    name = node.name or node.output.name
    return PassError(
        f"the quantized student cannot be trained: {node.op} '{name}' {what}",
        node=name,
        hint="quantize it with the pass quant, or exclude that node from quantization",
    )
