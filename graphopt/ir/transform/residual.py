"""The residual addition behind a layer: where its output is only one summand of what the network reads."""

from __future__ import annotations

from graphopt.ir.graph import Node
from graphopt.ir.tensor import Tensor
from graphopt.ir.transform.layer_bias import biased_output


def residual_sum(node: Node) -> Node | None:
    """Return the addition right behind a layer that alone reads its output, unless it adds a constant.

    The bias of a MatMul, added by a node of its own, belongs to the layer.
    """
    output = biased_output(node)
    reader = output.consumers[0] if output.is_private else None
    if reader is None or reader.op != "Add" or not reader.is_standard:
        return None
    return reader if all(tensor.constant is None for tensor in reader.inputs) else None


def goes_into(node: Node) -> Tensor:
    """Return what a layer goes into: the residual sum right behind it, else its own output, bias included."""
    reader = residual_sum(node)
    return biased_output(node) if reader is None else reader.output
