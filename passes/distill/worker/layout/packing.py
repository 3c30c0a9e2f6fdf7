"""Nodes that write a convolution in the blocked layout (NCHWc), channels filled up with zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN = "com.microsoft.nchwc"
CHANNELS = 4  # fixed: the kernels read channels of a blocked tensor in multiples of this
LARGE = 1e38  # theory: lifts whatever is above zero, but for denormal numbers, over one
END = np.iinfo(np.int64).min  # where a slice that runs backwards ends: before the first element


@dataclass(frozen=True)
class Window:
    """How a convolution moves over its input; ``pads`` as in ONNX: begins, then ends."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    def turned(self) -> Window | None:
        """The window of the gradient of the input; None where that is no convolution of this kind."""
        reach = [(size - 1) * step for size, step in zip(self.kernel, self.dilations, strict=True)]
        pads = [far - pad for far, pad in zip((*reach, *reach), self.pads, strict=True)]
        if any(step != 1 for step in self.strides) or min(pads) < 0:
            return None
        return Window(self.kernel, self.strides, tuple(pads), self.dilations, self.group)


@dataclass(frozen=True)
class Convolution:
    """A convolution to be written with weights of ``shape`` [out, in / group, kh, kw].

    ``turned`` weights are found as [in, out, kh, kw] (depthwise ones as they are), with the kernel backwards.
    """

    weights: str
    shape: tuple[int, ...]
    window: Window
    turned: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether each channel is its own group."""
        return self.window.group > 1

    def fits(self, size: int) -> bool:
        """Whether there is a kernel for it in blocks of ``size`` channels."""
        if len(self.shape) != 4:
            return False
        out, entering = self.shape[0], self.shape[1] * self.window.group
        if self.depthwise:
            return self.window.group == out == entering and out % CHANNELS == 0
        return self.reads_plain(size) or entering % CHANNELS == 0

    def reads_plain(self, size: int) -> bool:
        """Whether its channels are too few for a block: the kernel then reads the plain layout."""
        return not self.depthwise and self.shape[1] < size


class Nodes:
    """Nodes that take the place of one; their tensors are called after what it makes."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self._name = next(name for name in node.output if name)
        self.made: list[onnx.NodeProto] = []

    def add(self, op: str, inputs: list[str], domain: str = "", output: str = "", **attributes: Any) -> str:
        """Append a node of one output; the output's name."""
        name = f"{self._name}::blocked_{len(self.made)}"
        node = helper.make_node(op, inputs, [output or name], name=name, domain=domain, **attributes)
        self.made.append(node)
        return node.output[0]

    def convolution(self, what: Convolution, size: int, inputs: tuple[str, str, str], activation: str) -> str:
        """The convolution of source, bias and addend, the last two when there; the name of what it makes.

        All but the bias are in blocks, and a source of few channels is plain.
        """
        source, bias, addend = inputs
        filled, window = whole(what.shape[0], size), what.window
        entering = [
            source,
            self._packed(what, size),
            self._filled(bias, (filled - what.shape[0],), 1),
            addend,
        ]
        return self.add(
            "Conv",
            entering if addend else entering[: 3 if bias else 2],
            DOMAIN,
            kernel_shape=list(window.kernel),
            strides=list(window.strides),
            pads=list(window.pads),
            dilations=list(window.dilations),
            group=filled if what.depthwise else 1,
            **({"activation": activation} if activation else {}),
        )

    def masked(self, slope: str, activated: str, target: str = "") -> str:
        """The gradient of a Relu from its input or output: ``slope`` where that is above zero."""
        large, zero, one = (self.add("Constant", [], value_float=value) for value in (LARGE, 0.0, 1.0))
        raised = self.add("Mul", [activated, large])
        return self.add("Mul", [slope, self.add("Clip", [raised, zero, one])], output=target)

    def _packed(self, what: Convolution, size: int) -> str:
        """Weights ordered [out / size, in / block, kh, kw, block of in, block of out]; the shape is kept."""
        out, entering, *kernel = what.shape
        block = 1 if what.depthwise or what.reads_plain(size) else size
        filled, read = whole(out, size), whole(entering, block)
        weights = self._flipped(what.weights) if what.turned else what.weights
        if what.turned and not what.depthwise:
            weights = self._filled(weights, (read - entering, filled - out), 4)
            split, order = (read // block, block, filled // size, size, *kernel), [2, 0, 4, 5, 1, 3]
        else:
            weights = self._filled(weights, (filled - out, read - entering), 4)
            split, order = (filled // size, size, read // block, block, *kernel), [0, 2, 4, 5, 3, 1]
        parted = self.add("Reshape", [weights, self._constant(split)])
        ordered = self.add("Transpose", [parted], perm=order)
        return self.add("Reshape", [ordered, self._constant((filled, read, *kernel))])

    def _flipped(self, weights: str) -> str:
        """Both kernel axes backwards."""
        return self.add("Slice", [weights, *map(self._constant, ((-1, -1), (END, END), (2, 3), (-1, -1)))])

    def _filled(self, tensor: str, after: tuple[int, ...], rank: int) -> str:
        """Zeros after the last elements of the first axes."""
        if not tensor or not any(after):
            return tensor
        return self.add("Pad", [tensor, self._constant((*[0] * rank, *after, *[0] * (rank - len(after))))])

    def _constant(self, values: tuple[int, ...]) -> str:
        return self.add("Constant", [], value=numpy_helper.from_array(np.array(values, np.int64)))


def whole(channels: int, size: int) -> int:
    """Channels, filled up to whole blocks."""
    return -(-channels // size) * size
