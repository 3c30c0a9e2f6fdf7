"""Channels of zeros, so that depthwise kernels find whole blocks.

onnxruntime's integer depthwise kernel works on 16 channels at a time and computes what is left one by one:
88 channels take two and a half times as long as 96.  The zeros enter with the layers that make the channels,
pass what works channel by channel, and meet zero weights in the layers that read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphopt.ir import Node, Shape, Tensor

BY_CHANNEL = frozenset(
    {"AveragePool", "Clip", "GlobalAveragePool", "HardSigmoid", "HardSwish", "LeakyRelu", "MaxPool", "Relu"}
    | {"Sigmoid"}
)


@dataclass(frozen=True)
class Widening:
    """The rewrite for one block size."""

    block: int
    _fixed: set[Tensor] = field(default_factory=set, compare=False)  # tensors whose group cannot be widened

    def __call__(self, node: Node, shapes: Mapping[str, Shape]) -> bool:
        """Widen the channels around a depthwise Conv to whole blocks; the float function stays the same."""
        channels = _depthwise_channels(node)
        if channels is None or channels % self.block == 0:
            return False
        if node.inputs[0] in self._fixed:
            return False
        group = _Group(channels, shapes)
        if not group.collect(node.inputs[0]):
            self._fixed.update(group.tensors)
            return False
        group.widen(-channels % self.block)
        return True


@dataclass
class _Group:
    """All tensors that must have the same channels, and the Convs at their ends."""

    channels: int
    shapes: Mapping[str, Shape]
    tensors: dict[Tensor, None] = field(default_factory=dict)
    makers: dict[Node, None] = field(default_factory=dict)
    readers: dict[Node, None] = field(default_factory=dict)
    depthwise: dict[Node, None] = field(default_factory=dict)

    def collect(self, start: Tensor) -> bool:
        """Find all that belongs together; False when something in it cannot be widened."""
        waiting = [start]
        while waiting:
            tensor = waiting.pop()
            if tensor in self.tensors:
                continue
            self.tensors[tensor] = None
            if not self._is_inner(tensor) or not self._has_channels(tensor):
                return False
            for around in (self._before(tensor), *(self._after(n, tensor) for n in tensor.consumers)):
                if around is None:
                    return False
                waiting += around
        return True

    def _is_inner(self, tensor: Tensor) -> bool:
        """Whether a tensor is made and read in one graph, and handed out nowhere."""
        node = tensor.producer
        if node is None or node.graph is None or node.graph.is_output(tensor):
            return False
        return all(reader.graph is node.graph for reader in tensor.consumers)

    def _before(self, tensor: Tensor) -> list[Tensor] | None:
        node = tensor.producer
        assert node is not None  # collect has asked
        if _is_conv(node, group=1):
            self.makers[node] = None
            return []
        return self._through(node)

    def _after(self, node: Node, tensor: Tensor) -> list[Tensor] | None:
        if _is_conv(node, group=1) and node.inputs[0] is tensor:
            self.readers[node] = None
            return []
        return self._through(node)

    def _through(self, node: Node) -> list[Tensor] | None:
        """The tensors that a node ties together, or None when it does not work channel by channel."""
        if _depthwise_channels(node) == self.channels:
            self.depthwise[node] = None
            return [node.inputs[0], node.output]
        if not node.is_standard or len(node.outputs) != 1:
            return None
        if node.op in BY_CHANNEL:
            return [node.inputs[0], node.output]
        if node.op in ("Add", "Mul"):
            constants = [t for t in node.inputs if t.constant is not None]
            if node.op == "Add" and not constants:
                return None  # a residual trunk: widening all of it costs more than it gains
            if all(t.constant.size == 1 for t in constants):
                return [t for t in (*node.inputs, node.output) if t.constant is None]
        return None

    def _has_channels(self, tensor: Tensor) -> bool:
        shape = tensor.shape if tensor.shape is not None else self.shapes.get(tensor.name)
        return shape is not None and len(shape) in (3, 4) and shape[1] == self.channels

    def widen(self, count: int) -> None:
        """Add ``count`` channels of zeros."""
        for node in self.makers:
            _extend(node, 1, 0, count)
            _extend(node, 2, 0, count)
        for node in self.readers:
            _extend(node, 1, 1, count)
        for node in self.depthwise:
            _extend(node, 1, 0, count)
            _extend(node, 2, 0, count)
            node.attrs["group"] = self.channels + count
        for tensor in self.tensors:
            if tensor.shape is not None:
                tensor.shape = (tensor.shape[0], self.channels + count, *tensor.shape[2:])


def _is_conv(node: Node, group: int) -> bool:
    if node.op != "Conv" or not node.is_standard or int(node.attr("group", 1)) != group:
        return False
    constants = [t.constant for t in node.inputs[1:] if t.name]
    return all(c is not None and c.dtype == np.float32 for c in constants)


def _depthwise_channels(node: Node) -> int | None:
    """The channels of a depthwise Conv with constant weights, one filter a channel; None for other nodes."""
    group = int(node.attr("group", 1)) if node.op == "Conv" else 1
    if group == 1 or not _is_conv(node, group):
        return None
    shape = node.inputs[1].constant.shape
    return group if shape[0] == group and shape[1] == 1 else None


def _extend(node: Node, index: int, axis: int, count: int) -> None:
    """Append zeros to a constant input along an axis."""
    tensor = node.input(index)
    if tensor is None:
        return
    old = tensor.constant
    assert old is not None  # _is_conv has looked
    widths = [(0, count if i == axis else 0) for i in range(old.ndim)]
    node.graph.set_constant(node, index, np.pad(old, widths))
