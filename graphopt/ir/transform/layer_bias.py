"""Where the bias of a layer enters: its third input, or the constant of the Add behind a MatMul."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir.graph import Node
from graphopt.ir.io.weights import Array
from graphopt.ir.tensor import Tensor


@dataclass(frozen=True)
class Bias:
    """Where the bias of a layer enters: input ``index`` of ``node``."""

    node: Node
    index: int

    @property
    def tensor(self) -> Tensor:
        """The bias itself."""
        tensor: Tensor = self.node.inputs[self.index]
        return tensor

    @property
    def values(self) -> Array:
        """The numbers of a bias that is known to be constant."""
        values = self.tensor.constant
        assert values is not None
        return values


def layer_bias(node: Node) -> Bias | None:
    """The bias of a layer; that of a MatMul is the constant of the Add behind it."""
    if node.op != "MatMul":
        return None if node.input(2) is None else Bias(node, 2)
    adder = node.output.consumers[0] if node.output.is_private else None
    if adder is None or adder.op != "Add" or not adder.is_standard or adder.graph is not node.graph:
        return None
    index = 1 if adder.inputs[0] is node.output else 0
    constant, weight = adder.inputs[index].constant, node.inputs[1].constant
    if constant is None or weight is None or constant.ndim > 1:
        return None
    return Bias(adder, index) if constant.size in (1, weight.shape[-1]) else None


def vector_bias(node: Node) -> Bias | None:
    """The same where a MatMul's bias has a number for each output, so that another may take its place."""
    bias = layer_bias(node)
    if bias is None or bias.node is node:
        return bias
    weight = node.inputs[1].constant
    return bias if weight is not None and bias.values.size == weight.shape[-1] else None


def biased_output(node: Node) -> Tensor:
    """What a layer makes, with its bias."""
    bias = vector_bias(node)
    return node.output if bias is None else bias.node.output
