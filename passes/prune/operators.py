"""Every operator that channels can be followed through: its rule, and how zeros travel."""

from __future__ import annotations

from graphopt import ir

from . import movers, norms, pointwise, reshapes, sizes, weighted
from .builder import Operator
from .walk import Settled, Travel, Walk

KEEPS, CONSTANT, MIXES = Travel.KEEPS, Travel.CONSTANT, Travel.MIXES
ANY = 2**31  # fixed: more outputs than a node can have


def _opaque(walk: Walk, node: ir.Node) -> Settled:
    return walk.pin_operands(node, "may mix them with each other")


OPAQUE = Operator(_opaque, inputs=ANY, outputs=ANY)

# Of layers and normalisations zeros are what the weights, scales and shifts along the channels say.
OPERATORS: dict[str, Operator] = {
    "Conv": Operator(weighted.conv, KEEPS, inputs=3),
    "ConvTranspose": Operator(weighted.conv_transpose, KEEPS, inputs=3),
    "Gemm": Operator(weighted.gemm, KEEPS, inputs=3),
    "MatMul": Operator(weighted.matmul, KEEPS, inputs=2),
    "BatchNormalization": Operator(norms.normalise, KEEPS, inputs=5),
    "InstanceNormalization": Operator(norms.normalise, KEEPS, inputs=3),
    "GroupNormalization": Operator(norms.group_norm, MIXES, inputs=3),
    "LayerNormalization": Operator(norms.layer_norm, norms.layer_norm_travel, inputs=3, outputs=3),
    "RMSNormalization": Operator(norms.layer_norm, norms.layer_norm_travel, inputs=2),
    "Concat": Operator(movers.concat, KEEPS, inputs=ANY),
    "DepthToSpace": Operator(reshapes.depth_to_space, KEEPS),
    "Expand": Operator(reshapes.expand, KEEPS, inputs=2),
    "Flatten": Operator(reshapes.reshape, KEEPS),
    "Gather": Operator(movers.gather, KEEPS, inputs=2),
    "Pad": Operator(movers.pad, movers.pad_travel, inputs=4),
    "Reshape": Operator(reshapes.reshape, KEEPS, inputs=2),
    "Resize": Operator(reshapes.resize, KEEPS, inputs=4),
    "Shape": Operator(sizes.shape_of),
    "Slice": Operator(movers.slice_, KEEPS, inputs=5),
    "SpaceToDepth": Operator(reshapes.space_to_depth, KEEPS),
    "Split": Operator(movers.split, KEEPS, inputs=2, outputs=ANY),
    "Squeeze": Operator(reshapes.reshape, KEEPS, inputs=2),
    "Tile": Operator(reshapes.tile, KEEPS, inputs=2),
    "Transpose": Operator(movers.transpose, KEEPS),
    "Unsqueeze": Operator(reshapes.reshape, KEEPS, inputs=2),
    "Upsample": Operator(reshapes.resize, KEEPS, inputs=2),
    **dict.fromkeys(
        pointwise.UNARY_KEEPING_ZERO + pointwise.UNARY, Operator(pointwise.unary, pointwise.unary_travel)
    ),
    "Clip": Operator(pointwise.unary, pointwise.unary_travel, inputs=3),
    "Dropout": Operator(pointwise.unary, pointwise.unary_travel, inputs=3, outputs=2),
    # What is added to some operands breaks zeros in the rule itself.
    **dict.fromkeys(pointwise.ADDING + pointwise.SCALING, Operator(pointwise.combine, KEEPS, inputs=ANY)),
    **dict.fromkeys(pointwise.COMBINING, Operator(pointwise.combine, CONSTANT, inputs=ANY)),
    **dict.fromkeys(pointwise.POOLING, Operator(pointwise.pool, KEEPS)),
    "MaxPool": Operator(pointwise.pool, KEEPS, outputs=2),
    **dict.fromkeys(pointwise.REDUCING, Operator(pointwise.reduce, pointwise.reduce_travel, inputs=2)),
    **dict.fromkeys(
        ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization"], Operator(norms.over_an_axis, CONSTANT)
    ),
    "CumSum": Operator(norms.over_an_axis, CONSTANT, inputs=2),
    **dict.fromkeys(["GridSample", "MaxRoiPool"], Operator(pointwise.sample, KEEPS, inputs=2)),
    "RoiAlign": Operator(pointwise.sample, KEEPS, inputs=3),
}


def operator_of(graph: ir.Graph, node: ir.Node) -> Operator:
    """Return how to follow channels through a node; opaque where that is not known."""
    if not node.is_standard or node in graph.owners:
        return OPAQUE
    operator = OPERATORS.get(node.op, OPAQUE)
    return operator if operator.knows(node) else OPAQUE
