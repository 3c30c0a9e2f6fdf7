"""Work of a model where its time cannot be measured: multiply-accumulates, each by the bits it computes in.

One in 32-bit floats counts as one, in 8-bit integers a quarter, in 16-bit floats half: about what vector
units and matrix engines make of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphopt import cost, ir
from graphopt.cost.latency.layer_shape import INTEGER

WEIGHTED_MACS = "weighted MACs"
"""What a run saves where nobody names a goal and time cannot be measured."""
WEIGHTS = {INTEGER: 0.25, "float16": 0.5}  # theory: bits of 32, as many more fit a vector register


def weighted_macs(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """The multiply-accumulates of a model, those in fewer bits counted as fewer."""
    by_name = {layer.name: layer.macs or 0 for layer in cost.layers(model, shapes)}
    return float(
        sum(by_name.get(node.name or node.output.name, 0) * _weight(node) for node in model.graph.nodes)
    )


def _weight(node: ir.Node) -> float:
    if "Integer" in node.op or node.op.startswith("QLinear"):
        return WEIGHTS[INTEGER]
    operands = [tensor for tensor in node.inputs[:2] if tensor is not None]
    if operands and all(_is_stored(tensor) for tensor in operands):
        return WEIGHTS[INTEGER]
    constant = next((tensor.constant for tensor in operands if tensor.constant is not None), None)
    return WEIGHTS["float16"] if constant is not None and constant.dtype.itemsize == 2 else 1.0


def _is_stored(tensor: ir.Tensor) -> bool:
    """Whether a tensor is read from integers, so that a runtime can compute with these."""
    return tensor.producer is not None and tensor.producer.op == "DequantizeLinear"
