"""One of the layers that a layer becomes: its sizes and attributes, without weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.cost import LayerShape


@dataclass(frozen=True)
class Stage:
    """A Conv, Gemm or MatMul with constant weights.

    ``inputs`` and ``outputs`` count the channels of all groups.  ``kernel``, ``strides`` and ``dilations``
    have an entry for each spatial axis, ``pads`` the beginnings, then the ends.  ``flipped`` is the transB
    of a Gemm.
    """

    op: str
    inputs: int
    outputs: int
    group: int = 1
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"
    flipped: bool = False

    @property
    def weight(self) -> tuple[int, ...]:
        """The shape of its weights in ONNX's layout."""
        if self.op == "Conv":
            return (self.outputs, self.inputs // self.group, *self.kernel)
        return (self.outputs, self.inputs) if self.flipped else (self.inputs, self.outputs)

    @property
    def attrs(self) -> dict[str, Any]:
        """Its attributes as ONNX takes them."""
        if self.op != "Conv":
            return {"transB": 1} if self.flipped else {}
        attrs: dict[str, Any] = {"kernel_shape": list(self.kernel), "strides": list(self.strides)}
        attrs |= {"dilations": list(self.dilations), "group": self.group}
        same = self.auto_pad != "NOTSET"
        return {**attrs, **({"auto_pad": self.auto_pad} if same else {"pads": list(self.pads)})}

    @property
    def params(self) -> int:
        """How many weights it has; biases are left out."""
        return math.prod(self.weight)

    def result(self, source: Sequence[int]) -> tuple[int, ...]:
        """The dims of what it makes of an input of these dims."""
        if self.op != "Conv":
            return (*source[:-1], self.outputs)
        rank = len(self.kernel)
        sizes = []
        for axis, size in enumerate(source[2:]):
            if self.auto_pad.startswith("SAME"):
                sizes.append(-(-size // self.strides[axis]))
                continue
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            room = size + self.pads[axis] + self.pads[axis + rank] - reach
            sizes.append(room // self.strides[axis] + 1)
        return (source[0], self.outputs, *sizes)

    def macs(self, source: Sequence[int]) -> int:
        """Its multiply-accumulates on an input of these dims."""
        return math.prod(self.result(source)) * self.params // self.outputs

    def shape(self, source: Sequence[int], dtype: str) -> LayerShape:
        """The layer as the table of latencies knows it."""
        attrs: dict[str, Any] = {}
        if self.op == "Conv":
            named = {"dilations": self.dilations, "strides": self.strides}
            attrs = {name: value for name, value in named.items() if any(one != 1 for one in value)}
            attrs |= {"group": self.group} if self.group > 1 else {}
            attrs |= {"auto_pad": self.auto_pad} if self.auto_pad != "NOTSET" else {}
            attrs |= {"pads": self.pads} if any(self.pads) else {}
        elif self.flipped:
            attrs = {"transB": 1}
        return LayerShape(self.op, tuple(source), self.weight, tuple(sorted(attrs.items())), dtype)


def sources(stages: Iterable[Stage], source: Sequence[int]) -> list[tuple[int, ...]]:
    """The dims that each of these layers reads, one behind the other."""
    inputs = []
    for stage in stages:
        inputs.append(tuple(source))
        source = stage.result(source)
    return inputs


def macs(stages: Sequence[Stage], source: Sequence[int]) -> int:
    """The multiply-accumulates of layers one behind the other."""
    return sum(stage.macs(dims) for stage, dims in zip(stages, sources(stages, source), strict=True))
