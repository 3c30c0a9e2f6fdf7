"""Convolutions of a training graph in the blocked layout of onnxruntime's fastest kernels.

onnxruntime packs channels in blocks (NCHWc) for its fastest convolution, but only when the weights are
constant, and in training none are.  Here the graph itself brings the weights into that layout, at each step.
The gradient of the input of a convolution of stride 1 is a convolution too, with the weights turned round
(Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .packing import DOMAIN, Convolution, Nodes, Window

MICROSOFT = "com.microsoft"


def block_size() -> int:
    """Channels in a block on this machine; 0 where onnxruntime has no blocked kernels."""
    weights = numpy_helper.from_array(np.zeros((1, 64, 1, 1), np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "probe", values[:1], values[1:], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath).graph
    blocked = any(node.domain == DOMAIN for node in optimized.node)
    return max(tensor.dims[0] for tensor in optimized.initializer) if blocked else 0


class Blocked:
    """Rewrites the convolutions of one graph into blocks of ``size`` channels."""

    def __init__(self, graph: onnx.GraphProto, size: int) -> None:
        self._graph, self._size = graph, size
        self._shapes = dict(_shapes(graph))
        self._outputs = {value.name for value in graph.output}
        self._readers = _readers(graph.node)
        self._same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
        self._in_blocks: dict[str, str] = {}  # plain tensors, to what holds their values in blocks
        self._taken: set[str] = set()  # outputs of nodes that a convolution took in

    def rewrite(self) -> None:
        """Put blocked convolutions in the place of those that a blocked kernel takes."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            if node.output[0] in self._taken:
                continue
            nodes += self._replacement(node) or [node]
        del self._graph.node[:]
        self._graph.node.extend(self._read(nodes))

    def _replacement(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.op_type == "Conv" and node.domain == "":
            return self._forward(node)
        if node.op_type == "ConvGrad" and node.domain == MICROSOFT:
            return self._backward(node)
        if node.op_type == "ReluGrad" and node.domain == MICROSOFT:
            return self._activation_backward(node)
        return None

    def _forward(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The convolution, with a sum and a Relu behind it where nobody else reads what is between."""
        weights, shape = node.input[1], self._shapes.get(node.input[1])
        window = _window(node, shape)
        if shape is None or window is None:
            return None
        what = Convolution(weights, shape, window)
        if not what.fits(self._size):
            return None
        bias = node.input[2] if len(node.input) > 2 else ""
        addend, last = self._sum(node)
        activation = self._only_reader(last, ("Relu",))
        if activation is not None:
            self._taken.add(activation.output[0])
            last = activation
        nodes = Nodes(node)
        self._write(
            nodes,
            what,
            (node.input[0], bias, addend),
            last.output[0],
            activation.op_type if activation else "",
        )
        return nodes.made

    def _backward(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The gradient of the input as a convolution, with the sum over its readers where that is possible.

        The gradients of weights and bias stay with the node.
        """
        slope, _, weights = node.input
        shape = self._shapes.get(weights)
        window = _window(node, shape)
        turned = window.turned() if window else None
        if shape is None or turned is None or not node.output[0]:
            return None
        across = shape if turned.group > 1 else (shape[1], shape[0], *shape[2:])
        what = Convolution(weights, across, turned, turned=True)
        if not what.fits(self._size):
            return None
        addend, last = self._sum(node)
        nodes = Nodes(node)
        self._write(nodes, what, (slope, "", addend), last.output[0])
        rest = onnx.NodeProto()
        rest.CopyFrom(node)
        rest.output[0] = ""
        return [*nodes.made, rest] if any(rest.output) else nodes.made

    def _activation_backward(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The gradient of a Relu that stays in blocks where both its inputs are in blocks."""
        slope, activated = (self._blocked(name) for name in node.input)
        shape = self._shapes.get(node.input[1])
        if slope is None or activated is None or shape is None:
            return None
        nodes = Nodes(node)
        self._in_blocks[node.output[0]] = nodes.masked(slope, activated)
        nodes.add(
            "ReorderOutput", [self._in_blocks[node.output[0]]], DOMAIN, node.output[0], channels=shape[1]
        )
        return nodes.made

    def _write(
        self, nodes: Nodes, what: Convolution, inputs: tuple[str, str, str], target: str, activation: str = ""
    ) -> None:
        source, bias, addend = inputs
        if not what.reads_plain(self._size):
            plain = self._original(source)
            if plain not in self._in_blocks:
                self._in_blocks[plain] = nodes.add("ReorderInput", [plain], DOMAIN)
            source = self._in_blocks[plain]
        made = nodes.convolution(what, self._size, (source, bias, addend), activation)
        nodes.add("ReorderOutput", [made], DOMAIN, target, channels=what.shape[0])
        self._in_blocks[target] = made

    def _sum(self, node: onnx.NodeProto) -> tuple[str, onnx.NodeProto]:
        """What is added to the convolution, in blocks, and the addition; else nothing and the convolution."""
        added = self._only_reader(node, ("Add", "Sum"))
        if added is not None and len(added.input) == 2:
            other = added.input[1 if added.input[0] == node.output[0] else 0]
            shape = self._shapes.get(node.output[0])
            blocked = self._blocked(other)
            if blocked is not None and shape is not None and self._shapes.get(other) == shape:
                self._taken.add(added.output[0])
                return blocked, added
        return "", node

    def _blocked(self, name: str) -> str | None:
        """What holds the values of a plain tensor in blocks, if something does."""
        return self._in_blocks.get(self._original(name))

    def _original(self, name: str) -> str:
        """The tensor of which this is a copy: gradients of sums are copies."""
        while name in self._same:
            name = self._same[name]
        return name

    def _only_reader(self, node: onnx.NodeProto, ops: tuple[str, ...]) -> onnx.NodeProto | None:
        """The node of one of these operators that alone reads the output, once."""
        readers = self._readers.get(node.output[0], [])
        alone = len(readers) == 1 and node.output[0] not in self._outputs
        return readers[0] if alone and readers[0].op_type in ops else None

    def _read(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Without the ways back to the plain layout that nobody needs."""
        readers = _readers(nodes)
        return [
            node
            for node in nodes
            if node.op_type != "ReorderOutput" or node.output[0] in readers or node.output[0] in self._outputs
        ]


def _readers(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _window(node: onnx.NodeProto, shape: tuple[int, ...] | None) -> Window | None:
    """How the node moves over its input; None when that is not given as numbers."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if shape is None or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    axes = len(shape) - 2
    return Window(
        tuple(shape[2:]),
        tuple(attributes.get("strides", [1] * axes)),
        tuple(attributes.get("pads", [0] * 2 * axes)),
        tuple(attributes.get("dilations", [1] * axes)),
        attributes.get("group", 1),
    )


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Known shapes of tensors of float32."""
    for value in (*graph.input, *graph.value_info):
        tensor = value.type.tensor_type
        dims = tuple(dim.dim_value for dim in tensor.shape.dim)
        if tensor.elem_type == TensorProto.FLOAT and dims and all(dims):
            yield value.name, dims
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT:
            yield initializer.name, tuple(initializer.dims)
