"""What one layer should come to, and its weights as a matrix."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.stats import Patches

from .slots import Slot

UNKNOWNS = 4608  # of one output channel; a larger Gram matrix takes too much memory
ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Task:
    """One layer to fit: what it reads, what it should come to, and what readers see of that.

    ``target`` is a tensor of the original: the layer's output, or the residual sum that it goes into;
    ``branch`` is the other summand, in the pruned network.  Readers see the target clamped to ``seen``, as
    a Relu or Clip does it: an error outside does not matter.
    """

    node: ir.Node
    patches: Patches
    target: str
    branch: str | None
    seen: tuple[float, float]
    slots: tuple[Slot, ...]  # along which the weights follow the channels that the layer reads

    @property
    def biased(self) -> bool:
        """Whether a constant is fitted too."""
        return self.node.op != "MatMul"

    @property
    def weight(self) -> ir.Array:
        """The weights as they are in the model."""
        values = self.node.inputs[1].constant
        assert values is not None
        return values

    @property
    def is_depthwise(self) -> bool:
        """Whether every group makes a few outputs of one input."""
        return self.patches.groups > 1 and self.weight.shape[0 if self.node.op != "Conv" else 1] == 1

    def matrix(self) -> np.ndarray:
        """The layer's weights, with its bias as a last row, (groups, n, outputs)."""
        matrix = self.patches.matrix(self.weight) * float(self.node.attr("alpha", 1.0))
        if not self.biased:
            return matrix
        bias = self.node.input(2)
        row = np.zeros(1) if bias is None else np.asarray(bias.constant, np.float64)
        row = np.broadcast_to(row * float(self.node.attr("beta", 1.0)), matrix.shape[0] * matrix.shape[2])
        return np.concatenate([matrix, row.reshape(matrix.shape[0], 1, -1)], axis=1)

    def store(self, matrix: np.ndarray) -> None:
        """Write a matrix such as ``matrix()`` back into the model."""
        graph, dtype = self.node.graph, self.weight.dtype
        assert graph is not None
        scale, shift = float(self.node.attr("alpha", 1.0)), float(self.node.attr("beta", 1.0))
        inner = matrix[:, :-1] if self.biased else matrix
        weight = self.patches.weight(inner / scale).astype(dtype)
        graph.set_constant(self.node, 1, np.ascontiguousarray(weight))
        if self.biased:
            graph.set_constant(self.node, 2, (matrix[:, -1].ravel() / shift).astype(dtype))


def task_of(node: ir.Node, slots: tuple[Slot, ...], known: Set[str]) -> Task | str:
    """Return how to fit a layer, or why it is left as it is.

    ``known`` are the tensors that are final once all layers before this one are.
    """
    patches = Patches.of(node)
    if isinstance(patches, str):
        return patches
    weight, bias = node.inputs[1].constant, node.input(2)
    assert weight is not None
    if len(node.inputs[1].consumers) > 1:
        return "another layer shares its weights"
    if weight.dtype.kind != "f" or patches.shape(weight.shape)[1] > UNKNOWNS:
        return "it reads too much at a time"
    if bias is not None and (bias.constant is None or bias.constant.ndim > 1):
        return "its bias is computed or a matrix"
    target, branch = _wanted(node, known)
    return Task(node, patches, target.name, None if branch is None else branch.name, _seen(target), slots)


def _wanted(node: ir.Node, known: Set[str]) -> tuple[ir.Tensor, ir.Tensor | None]:
    """The tensor to aim at: a residual sum when its other summand is final, else the output itself."""
    output = node.output
    reader = output.consumers[0] if output.is_private else None
    if reader is not None and reader.op == "Add" and reader.is_standard:
        other = reader.inputs[1] if reader.inputs[0] is output else reader.inputs[0]
        if other.name in known:
            return reader.output, other
    return output, None


def _seen(tensor: ir.Tensor) -> tuple[float, float]:
    """What all readers clamp a tensor to."""
    graph = tensor.producer.graph if tensor.producer is not None else None
    if not tensor.consumers or graph is None or graph.is_output(tensor):
        return ANYTHING
    ranges = {_range(node) for node in tensor.consumers}
    return ranges.pop() if len(ranges) == 1 else ANYTHING


def _range(node: ir.Node) -> tuple[float, float]:
    if node.op == "Relu" and node.is_standard:
        return 0.0, math.inf
    if node.op != "Clip" or not node.is_standard:
        return ANYTHING
    bounds = []
    for index, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        tensor = node.input(index)
        if tensor is None:
            bounds.append(float(node.attr(name, default)))
        elif tensor.constant is None:
            return ANYTHING
        else:
            bounds.append(float(np.asarray(tensor.constant).ravel()[0]))
    return bounds[0], bounds[1]
