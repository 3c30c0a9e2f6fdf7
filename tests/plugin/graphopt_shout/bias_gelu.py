"""Channels through onnxruntime's BiasGelu, Y = Gelu(X + B), with one bias for each entry of the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.passes.prune.coupling import CouplingBuilder, Operator, Settled, Travel

if TYPE_CHECKING:
    from graphopt.ir import Node


def follow(walk: CouplingBuilder, node: Node) -> Settled:
    """Pass the channels of X on, and cut the bias with them."""
    channels, shape = walk.channels(node.inputs[0]), walk.shape(node.inputs[0])
    if channels is None:
        return ()
    bias = node.inputs[1].constant
    if bias is None or shape is None or channels.axis != len(shape) - 1:
        return walk.pin_operands(node, "has no constant bias along these channels")
    walk.slot(node, 1, 0, channels.ids, "shift")  # input 1, axis 0
    walk.carry(node.outputs[0], channels.axis, channels.ids)
    return (0,)


# Gelu(0 + 0) is 0; a bias that is not zero is known by its role, "shift".
BIAS_GELU = Operator(follow, Travel.KEEPS, inputs=2)
