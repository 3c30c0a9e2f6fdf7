"""Surgery: put the QuantizeLinear and DequantizeLinear nodes of a plan into a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphopt.ir import Array, Constant, Graph, Node, Tensor, Variable
from graphopt.ir.transform.layer_bias import layer_bias

from ..calibration.parameters import Bounds, Parameters, activation_parameters
from ..items import (
    GateItem,
    Item,
    PadItem,
    PerChannelReadItem,
    RescaleItem,
    ScalarItem,
    TensorItem,
    WeightItem,
    nodes_by_id,
)
from ..placement.rules import gate, weight_axis
from .plan_check import refuse_unknown
from .saturation import least_scale_of_pairs
from .weights import QuantizedWeight, least_scale, quantize_bias, quantize_weight

SUM = "_sum"  # what the name of a gate's addition ends in


def insert(graph: Graph, items: Iterable[Item]) -> None:
    """Carry out all items.  Raises PassError when one names something that the graph does not have."""
    items = list(items)
    nodes = nodes_by_id(graph)
    refuse_unknown(nodes, items)
    weights = [i for i in items if isinstance(i, WeightItem)]
    parameters = {i.tensor: i.parameters for i in items if isinstance(i, TensorItem)}
    _Weights(graph, nodes, parameters).insert(weights)
    pairs = _Pairs(graph, nodes)
    for item in items:
        if isinstance(item, TensorItem):
            pairs.insert(item)
    for item in items:
        if isinstance(item, RescaleItem):
            pairs.rescale(nodes[item.node])
        elif isinstance(item, PadItem):
            pairs.pad(nodes[item.node])
        elif isinstance(item, ScalarItem):
            pairs.scalar(nodes[item.node])
        elif isinstance(item, GateItem):
            pairs.gate(nodes[item.node])
        elif isinstance(item, PerChannelReadItem):
            pairs.wall(nodes[item.node], item.channels)
    graph.remove_unused_initializers()
    graph.sort()


class _Pairs:
    """QuantizeLinear and DequantizeLinear pairs on activations."""

    def __init__(self, graph: Graph, nodes: Mapping[str, Node]) -> None:
        self.graph = graph
        self.nodes = nodes
        self.tensors = tensors_by_name(graph)
        self.constants: dict[Parameters, tuple[Constant, Constant]] = {}

    def insert(self, item: TensorItem) -> None:
        """Let the readers of a tensor read what was stored of it."""
        tensor = self.tensors[item.tensor]
        readers = list(dict.fromkeys(tensor.consumers))
        if item.readers is not None:
            chosen = {self.nodes[name] for name in item.readers}
            readers = [node for node in readers if node in chosen]
        name, constants = tensor.name, self._constants(item.parameters, tensor.name)
        source = self._before_output(tensor) if item.readers is None else tensor
        dtype = np.dtype(item.parameters.dtype)
        stored = self._node("QuantizeLinear", [source, *constants], f"{name}_quantized", dtype)
        stored.shape = tensor.shape
        if source is not tensor:
            self.graph.add_node("DequantizeLinear", [stored, *constants], outputs=[tensor], name=name)
            return
        read = self._node("DequantizeLinear", [stored, *constants], f"{name}_dequantized", np.float32)
        read.shape = tensor.shape
        for node in readers:
            node.inputs = [read if t is tensor else t for t in node.inputs]

    def _before_output(self, tensor: Tensor) -> Tensor:
        """What is stored of a tensor: of an output a new one, so that the output keeps its name."""
        node = tensor.producer
        if not self.graph.is_output(tensor) or node is None:
            return tensor
        made = Variable(self.graph.names.unique(f"{tensor.name}_float"), tensor.dtype, tensor.shape)
        node.outputs = [made if t is tensor else t for t in node.outputs]
        return made

    def rescale(self, node: Node) -> None:
        """Let the readers of a product read the integers of its operand; their scale has the factor."""
        (value,) = [tensor for tensor in node.inputs if tensor.constant is None]
        after, before = node.output.consumers[0], value.producer
        self.graph.replace_uses(after.output, before.inputs[0])
        self.graph.remove(after)
        self.graph.remove(node)
        self._drop_unread(before)

    def pad(self, node: Node) -> None:
        """Let a Pad read and write what is stored, and pad with the zero point."""
        before, after = node.inputs[0].producer, node.output.consumers[0]
        zero_point = before.inputs[2]
        stored = after.output
        self.graph.remove(after)
        pads, axes = node.inputs[1], node.inputs[3:]
        node.inputs = [before.inputs[0], pads, zero_point, *axes]
        node.outputs = [stored]
        self._drop_unread(before)

    def gate(self, node: Node) -> None:
        """Compute clip(alpha * x + beta, 0, 1) as alpha * clip(x + beta / alpha, 0, 1 / alpha).

        Storing the sum clips it, and reading what was stored with another scale multiplies it by alpha.
        """
        alpha, beta = gate(node)
        source, result = node.inputs[0], node.output
        store = result.consumers[0]
        is_swish = node.op == "HardSwish"
        self.graph.remove(node)
        shift = self._exact_constant(np.asarray(beta / alpha), f"{result.name}_shift")
        sum_ = self._node("Add", [source, shift], f"{result.name}{SUM}", np.float32)
        if not is_swish:
            own = Parameters(store.inputs[1].constant / alpha, int(store.inputs[2].constant))
            store.inputs = [sum_, *self._constants(own, sum_.name)]
            return
        unit = activation_parameters(0.0, 1.0, Bounds(0.0, 1.0))
        wide = self._constants(Parameters(unit.scale / alpha, 0), sum_.name)
        stored = self._node("QuantizeLinear", [sum_, *wide], f"{sum_.name}_quantized", np.uint8)
        read = [stored, *self._constants(unit, f"{result.name}_gate")]
        opened = self._node("DequantizeLinear", read, f"{result.name}_gate", np.float32)
        self.graph.add_node("Mul", [source, opened], outputs=[result], name=f"{result.name}_gated")

    def scalar(self, node: Node) -> None:
        """Store the number that an Add or Mul adds or multiplies with."""
        (old,) = [tensor for tensor in node.inputs if tensor.constant is not None]
        (value,) = [tensor for tensor in node.inputs if tensor is not old]
        dtype = str(value.producer.inputs[2].dtype)
        new = self._exact_constant(old.constant, old.name, dtype)
        node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
        drop_constant(self.graph, old)

    def _exact_constant(self, value: Array, name: str, dtype: str = "uint8") -> Variable:
        """A stored single number, of any shape: its integer lies as far from the zero point as can be."""
        number = float(value.item())
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        zero, far = (low, high) if number > 0 else (high, low)
        parameters = Parameters(float(np.float32(abs(number) / (high - low))), zero, dtype)
        integer = np.full(value.shape, far, dtype)
        stored = self.graph.add_constant(f"{name}_quantized", integer)
        return self._node("DequantizeLinear", [stored, *self._constants(parameters, name)], name, np.float32)

    def wall(self, node: Node, channels: int) -> None:
        """Let a float layer read its input with a scale for each channel: onnxruntime leaves that alone."""
        before = node.inputs[0].producer
        stored, scale, zero_point = before.inputs
        name = f"{node.inputs[0].name}_by_channel"
        scales = self.graph.add_constant(f"{name}_scale", np.full(channels, scale.values, np.float32))
        same = np.full(channels, zero_point.values, zero_point.values.dtype)
        zeros = self.graph.add_constant(f"{name}_zero_point", same)
        read = self._node("DequantizeLinear", [stored, scales, zeros], name, np.float32, axis=1)
        read.shape = node.inputs[0].shape
        node.inputs = [read, *node.inputs[1:]]
        self._drop_unread(before)

    def _drop_unread(self, node: Node) -> None:
        if not node.output.consumers:
            self.graph.remove(node)

    def _constants(self, parameters: Parameters, name: str) -> tuple[Constant, Constant]:
        """Scale and zero point, shared by the tensors that have the same and named after the first."""
        if parameters not in self.constants:
            self.constants[parameters] = (
                self.graph.add_constant(f"{name}_scale", np.asarray(parameters.scale, np.float32)),
                self.graph.add_constant(
                    f"{name}_zero_point", np.asarray(parameters.zero_point, parameters.dtype)
                ),
            )
        return self.constants[parameters]

    def _node(self, op: str, inputs: list[Tensor], name: str, dtype: Any, **attrs: int) -> Variable:
        result = Variable(self.graph.names.unique(name), dtype)
        self.graph.add_node(op, inputs, attrs, outputs=[result], name=name)
        return result


class _Weights:
    """Weights and biases of layers, each stored once however many layers read it."""

    def __init__(self, graph: Graph, nodes: Mapping[str, Node], inputs: Mapping[str, Parameters]) -> None:
        self.graph = graph
        self.nodes = nodes
        self.inputs = inputs

    def insert(self, items: list[WeightItem]) -> None:
        """Store the weights of all items, then drop the float ones that nobody reads any more."""
        groups: dict[WeightItem, list[Node]] = {}
        for item in items:
            groups.setdefault(replace(item, node=""), []).append(self.nodes[item.node])
        replaced: dict[Tensor, None] = {}
        for how, layers in groups.items():
            for layer in layers:
                bias = layer_bias(layer) if how.bias == "int32" else None
                replaced |= dict.fromkeys([layer.inputs[1], *([bias.tensor] if bias else [])])
            self._store(layers, how)
        for tensor in replaced:
            drop_constant(self.graph, tensor)

    def _store(self, layers: list[Node], how: WeightItem) -> None:
        tensor = layers[0].inputs[1]
        weight = tensor.constant
        stored = layers if how.bias == "int32" else []
        biases = {layer: bias for layer in stored if (bias := _bias(layer)) is not None}
        least = [least_scale(bias, self._input_scale(layer)) for layer, bias in biases.items()]
        if how.sums == "int16":
            least += [least_scale_of_pairs(layer, weight) for layer in layers]
        if how.axis is None:  # one scale for all, whatever number of channels each bound speaks of
            least = [np.max(bound, initial=0.0) for bound in least]
        quantized = quantize_weight(weight, how.axis, how.limit, np.max(least, axis=0) if least else 0.0)
        read = self._dequantized(tensor.name, quantized.values, quantized.scale, how.axis)
        for layer in layers:
            if layer in biases:
                self._store_bias(layer, biases[layer], quantized)
            layer.inputs = [layer.inputs[0], read, *layer.inputs[2:]]

    def _store_bias(self, layer: Node, bias: Array, weight: QuantizedWeight) -> None:
        values, scale = quantize_bias(bias, self._input_scale(layer), weight.scale)
        place = layer_bias(layer)
        assert place is not None  # it has a bias
        axis = None if weight.axis is None else 0
        read = self._dequantized(place.tensor.name, values, scale[0] if axis is None else scale, axis)
        inputs = list(place.node.inputs)
        inputs[place.index] = read
        place.node.inputs = inputs

    def _dequantized(self, name: str, values: Array, scale: Array, axis: int | None) -> Variable:
        """An initializer of integers behind its DequantizeLinear."""
        stored = self.graph.add_constant(f"{name}_quantized", values)
        scales = self.graph.add_constant(f"{name}_scale", np.asarray(scale, np.float32))
        result = Variable(self.graph.names.unique(f"{name}_dequantized"), np.float32, values.shape)
        attrs = {} if axis is None else {"axis": axis}
        inputs = [stored, scales]
        if values.dtype == np.int8:  # onnxruntime fuses no Gemm whose weight lacks it
            inputs.append(self.graph.add_constant(f"{name}_zero_point", np.zeros(scales.shape, np.int8)))
        self.graph.add_node("DequantizeLinear", inputs, attrs, outputs=[result], name=name)
        return result

    def _input_scale(self, layer: Node) -> float:
        return self.inputs[layer.inputs[0].name].scale


def tensors_by_name(graph: Graph) -> dict[str, Tensor]:
    """The inputs of a graph and what its nodes make."""
    made = [tensor for node in graph.nodes for tensor in node.outputs if tensor.name]
    return {tensor.name: tensor for tensor in (*graph.inputs, *made)}


def _bias(layer: Node) -> Array | None:
    """The bias of a layer, one number for each output channel."""
    bias = layer_bias(layer)
    if bias is None:
        return None
    channels = layer.inputs[1].constant.shape[weight_axis(layer)]
    if layer.op == "ConvTranspose":
        channels *= int(layer.attr("group", 1))
    return np.broadcast_to(bias.values.ravel(), (channels,))


def drop_constant(graph: Graph, tensor: Tensor) -> None:
    """Remove the Constant and Identity nodes behind a tensor that nobody reads any more."""
    while tensor.producer is not None and not tensor.outputs and not graph.is_output(tensor):
        node = tensor.producer
        if node.op not in ("Constant", "Identity") or node.graph is not graph:
            return
        sources = list(node.inputs)
        graph.remove(node)
        if not sources:
            return
        tensor = sources[0]
