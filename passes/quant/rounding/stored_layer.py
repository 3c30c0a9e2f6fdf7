"""A layer of the quantized graph: the integers of its weight and bias, to look at and to change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.calibration import Patches
from graphopt.ir import Array, Constant, Graph, Node, Variable
from graphopt.ir.transform.layer_bias import layer_bias

from ..insertion.saturation import saturates
from ..insertion.weights import SMALLEST_SCALE, least_scale

# theory: what is left of the int32 holds the sum of products of most layers
LARGEST_STORED_BIAS = 2**31 - 2**24


@dataclass(frozen=True)
class StoredLayer:
    """A layer before and after: ``exact`` of the float model, ``node`` of the quantized one.

    Weights are handed out as (groups, n, outputs), scales as (groups, outputs), biases as (channels,).
    """

    exact: Node
    node: Node
    patches: Patches
    limit: int  # the largest integer of its weight
    bias_dtype: str = "int32"  # of biases on the target
    sums: str = "int32"  # what the processor adds pairs of products in

    @classmethod
    def of(
        cls, exact: Node, node: Node, limit: int, bias_dtype: str = "int32", sums: str = "int32"
    ) -> StoredLayer | str:
        """The stored layer, or why its integers are left as they are."""
        patches = Patches.of(exact)
        if isinstance(patches, str):
            return patches
        reader = node.inputs[1].producer
        if reader is None or reader.op != "DequantizeLinear" or not isinstance(reader.inputs[0], Constant):
            return "its weights are not stored as integers"
        if len(reader.output.consumers) > 1:
            return "another layer shares its weights"
        return cls(exact, node, patches, limit, bias_dtype, sums)

    @property
    def weights(self) -> Array:
        """The float weights, (groups, n, outputs) float64."""
        return self.patches.matrix(self.exact.inputs[1].constant)

    @property
    def integers(self) -> Array:
        """The integers that stand for the weights, (groups, n, outputs) float64."""
        return self.patches.matrix(self._weight.inputs[0].constant)

    @property
    def scale(self) -> Array:
        """What an integer counts for, (groups, outputs) float64."""
        scale = self._weight.inputs[1].constant.astype(np.float64)
        groups, _, outputs = self.patches.shape(self.exact.inputs[1].constant.shape)
        return np.broadcast_to(scale.reshape(-1), (groups * outputs,)).reshape(groups, outputs)

    def store(self, graph: Graph, integers: Array) -> None:
        """Replace the integers of the weights."""
        values = np.ascontiguousarray(self.patches.weight(integers).astype(np.int8))
        graph.set_constant(self._weight, 0, values)

    def rescale(self, graph: Graph, scale: Array) -> None:
        """Replace the scales of a weight that has one for each channel; the bias is stored anew with them."""
        if np.array_equal(scale, self.scale):
            return
        kept = self.bias
        old = self._weight.inputs[1].constant
        graph.set_constant(self._weight, 1, scale.reshape(old.shape).astype(np.float32))
        reader = self._bias_reader
        if reader is not None and kept is not None:
            follows = np.float32(self.input_scale) * scale.reshape(-1).astype(np.float32)
            graph.set_constant(reader, 1, follows.reshape(reader.inputs[1].constant.shape))
            self.correct(graph, kept)

    def fitting(self, integers: Array, scale: Array) -> tuple[Array, Array]:
        """Integers and scales, those that stand now in place of channels whose sums would saturate."""
        if self.sums == "int32":
            return integers, scale
        is_over = saturates(self.exact, self.patches.weight(integers)).reshape(scale.shape)
        return np.where(is_over[:, None, :], self.integers, integers), np.where(is_over, self.scale, scale)

    @property
    def has_channels(self) -> bool:
        """Whether each output channel has a scale of its own."""
        return self._weight.inputs[1].constant.size > 1 or self.scale.size == 1

    @property
    def least_scale(self) -> Array:
        """The smallest scales with which the bias still fits its integers, (groups, outputs)."""
        bias, like = self.bias, self.scale
        if bias is None or self._bias_reader is None:
            return np.full(like.shape, SMALLEST_SCALE)
        least = np.maximum(least_scale(2.0 * bias, self.input_scale), SMALLEST_SCALE)
        return least.reshape(like.shape)

    @property
    def input_scale(self) -> float:
        """The scale of the tensor that the layer reads."""
        return float(self.node.inputs[0].producer.inputs[1].constant.reshape(-1)[0])

    @property
    def has_own_bias(self) -> bool:
        """Whether the quantized layer has a bias that nothing else reads."""
        place = self._bias_place
        if place is None:
            return False
        node, index = place
        return bool(node.inputs[index].is_private)

    @property
    def bias(self) -> Array | None:
        """The bias as the runtime sees it, (channels,) float64; None when there is none."""
        place = self._bias_place
        if place is None:
            return None
        reader = self._bias_reader
        if reader is None:
            values = place[0].inputs[place[1]].constant
            return None if values is None else self._spread(values.astype(np.float64))
        stored, scale = reader.inputs[0].constant, reader.inputs[1].constant
        return self._spread(stored.astype(np.float64) * scale.astype(np.float64))

    def correct(self, graph: Graph, bias: Array) -> None:
        """Replace the bias; one that the layer lacked is added where its operator has room for one."""
        place = self._bias_place
        if place is None:
            self._add_bias(graph, bias)
            return
        node, index = place
        reader = self._bias_reader
        if reader is None:
            old = node.inputs[index].constant
            graph.set_constant(node, index, _shaped(bias, old).astype(old.dtype))
            return
        scale = self._spread(reader.inputs[1].constant.astype(np.float64))
        steps = np.clip(np.rint(bias / scale), -LARGEST_STORED_BIAS, LARGEST_STORED_BIAS)
        graph.set_constant(reader, 0, _shaped(steps, reader.inputs[0].constant).astype(np.int32))

    @property
    def can_be_corrected(self) -> bool:
        """Whether the layer has a bias of its own, with a number for each channel, or room for one."""
        place = self._bias_place
        if place is None:
            return self.node.op in ("Conv", "Gemm")
        reader = self._bias_reader
        held = place[0].inputs[place[1]].constant if reader is None else reader.inputs[0].constant
        return held is not None and held.size == self._channels and self.has_own_bias

    @property
    def _channels(self) -> int:
        groups, _, outputs = self.patches.shape(self.exact.inputs[1].constant.shape)
        return groups * outputs

    def _spread(self, values: Array) -> Array:
        return np.array(np.broadcast_to(values.reshape(-1), (self._channels,)))

    @property
    def _weight(self) -> Node:
        """The DequantizeLinear of the weight."""
        reader: Node = self.node.inputs[1].producer
        return reader

    @property
    def _bias_place(self) -> tuple[Node, int] | None:
        """The node and the input at which the bias enters the quantized graph."""
        place = layer_bias(self.exact)
        if place is None:
            return (self.node, 2) if self.node.op in ("Conv", "Gemm") and self.node.input(2) else None
        if place.node is self.exact:
            return self.node, place.index
        adder = next((n for n in self.node.output.consumers if n.output.name == place.node.output.name), None)
        return None if adder is None else (adder, place.index)

    @property
    def _bias_reader(self) -> Node | None:
        """The DequantizeLinear of the bias, when it is stored as integers."""
        place = self._bias_place
        reader = None if place is None else place[0].inputs[place[1]].producer
        return reader if reader is not None and reader.op == "DequantizeLinear" else None

    def _add_bias(self, graph: Graph, bias: Array) -> None:
        name = f"{self.node.name or self.node.op}_bias"
        if self.bias_dtype == "float32":
            inputs = list(self.node.inputs)[:2]
            self.node.inputs = [*inputs, graph.add_constant(name, bias.astype(np.float32))]
            return
        weight_scale = self._weight.inputs[1].constant
        per_channel = weight_scale.ndim > 0
        scale = np.float32(self.input_scale) * weight_scale.astype(np.float32)
        steps = np.clip(np.rint(bias / scale.astype(np.float64)), -LARGEST_STORED_BIAS, LARGEST_STORED_BIAS)
        stored = graph.add_constant(f"{name}_quantized", steps.astype(np.int32))
        scales = graph.add_constant(f"{name}_scale", scale)
        result = Variable(graph.names.unique(f"{name}_dequantized"), np.float32, bias.shape)
        attrs = {"axis": 0} if per_channel else {}
        graph.add_node("DequantizeLinear", [stored, scales], attrs, outputs=[result], name=name)
        inputs = list(self.node.inputs)[:2]
        self.node.inputs = [*inputs, result]


def _shaped(values: Array, like: Array) -> Array:
    return values.reshape(like.shape)
