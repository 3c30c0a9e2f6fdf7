"""The concatenation behind a layer: where its channels lie beside those of other layers."""

from __future__ import annotations

from graphopt.ir.graph import Node
from graphopt.ir.tensor import Tensor

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


def concatenation_share(node: Node) -> float:
    """Return the share that a convolution has in the channels of the Concat behind it; 1 where unknown."""
    concatenation = concatenated_in(node)
    parts = [] if concatenation is None else [_filters(tensor) for tensor in concatenation.inputs]
    own = _filters(node.output)
    sizes = [part for part in parts if part is not None]
    return own / sum(sizes) if own is not None and sizes and len(sizes) == len(parts) else 1.0


def _filters(tensor: Tensor) -> int | None:
    """The filters of the convolution that makes a tensor, by way of activations or at once."""
    producer = tensor.producer
    while producer is not None and producer.op in ACTIVATIONS and producer.is_standard:
        producer = producer.inputs[0].producer
    if producer is None or producer.op != "Conv" or not producer.is_standard:
        return None
    weight = producer.inputs[1].constant
    return None if weight is None else weight.shape[0]
