"""The concatenation behind a layer: where its channels lie beside those of other layers."""

from __future__ import annotations

from graphopt.ir.graph import Node

ACTIVATIONS = frozenset(("Clip", "Elu", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"))
CHANNELS = 1  # fixed: the axis of channels of what convolutions make


def concatenated_in(node: Node) -> Node | None:
    """Return the Concat of channels that alone reads what a layer makes, behind activations or at once."""
    output = node.output
    while output.is_private:
        reader = output.consumers[0]
        if reader.op == "Concat" and reader.is_standard:
            return reader if reader.attr("axis", 0) == CHANNELS else None
        if reader.op not in ACTIVATIONS or not reader.is_standard:
            return None
        output = reader.output
    return None
