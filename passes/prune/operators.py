"""Every operator that channels can be followed through: its rule, and how zeros travel."""

from __future__ import annotations

from graphopt import ir

from . import movers, norms, pointwise, reshapes, sizes, weighted
from .builder import Operator
from .walk import Settled, Travel, Walk

KEEPS, CONSTANT, MIXES = Travel.KEEPS, Travel.CONSTANT, Travel.MIXES
ANY = 2**31  # outputs


def _opaque(walk: Walk, node: ir.Node) -> Settled:
    return walk.pin_operands(node, "may mix them with each other")


OPAQUE = Operator(_opaque)

# Of layers and normalisations zeros are what the weights, scales and shifts along the channels say.
OPERATORS: dict[str, Operator] = {
    "Conv": Operator(weighted.conv, KEEPS),
    "ConvTranspose": Operator(weighted.conv_transpose, KEEPS),
    "Gemm": Operator(weighted.gemm, KEEPS),
    "MatMul": Operator(weighted.matmul, KEEPS),
    "BatchNormalization": Operator(norms.normalise, KEEPS),
    "InstanceNormalization": Operator(norms.normalise, KEEPS),
    "GroupNormalization": Operator(norms.group_norm, MIXES),
    "LayerNormalization": Operator(norms.layer_norm, norms.layer_norm_travel, outputs=3),
    "RMSNormalization": Operator(norms.layer_norm, norms.layer_norm_travel),
    "Concat": Operator(movers.concat, KEEPS),
    "DepthToSpace": Operator(reshapes.depth_to_space, KEEPS),
    "Expand": Operator(reshapes.expand, KEEPS),
    "Flatten": Operator(reshapes.reshape, KEEPS),
    "Gather": Operator(movers.gather, KEEPS),
    "Pad": Operator(movers.pad, movers.pad_travel),
    "Reshape": Operator(reshapes.reshape, KEEPS),
    "Resize": Operator(reshapes.resize, KEEPS),
    "Shape": Operator(sizes.shape_of),
    "Slice": Operator(movers.slice_, KEEPS),
    "SpaceToDepth": Operator(reshapes.space_to_depth, KEEPS),
    "Split": Operator(movers.split, KEEPS, outputs=ANY),
    "Squeeze": Operator(reshapes.reshape, KEEPS),
    "Tile": Operator(reshapes.tile, KEEPS),
    "Transpose": Operator(movers.transpose, KEEPS),
    "Unsqueeze": Operator(reshapes.reshape, KEEPS),
    "Upsample": Operator(reshapes.resize, KEEPS),
    **dict.fromkeys(
        pointwise.UNARY_KEEPING_ZERO + pointwise.UNARY, Operator(pointwise.unary, pointwise.unary_travel)
    ),
    "Dropout": Operator(pointwise.unary, pointwise.unary_travel, outputs=2),
    # What is added to some operands breaks zeros in the rule itself.
    **dict.fromkeys(pointwise.ADDING + pointwise.SCALING, Operator(pointwise.combine, KEEPS)),
    **dict.fromkeys(pointwise.COMBINING, Operator(pointwise.combine, CONSTANT)),
    **dict.fromkeys(pointwise.POOLING, Operator(pointwise.pool, KEEPS)),
    "MaxPool": Operator(pointwise.pool, KEEPS, outputs=2),
    **dict.fromkeys(pointwise.REDUCING, Operator(pointwise.reduce, pointwise.reduce_travel)),
    **dict.fromkeys(
        ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "CumSum"],
        Operator(norms.over_an_axis, CONSTANT),
    ),
    **dict.fromkeys(["GridSample", "RoiAlign", "MaxRoiPool"], Operator(pointwise.sample, KEEPS)),
}


def operator_of(graph: ir.Graph, node: ir.Node) -> Operator:
    """Return how to follow channels through a node; opaque where that is not known."""
    if not node.is_standard or node in graph.owners:
        return OPAQUE
    operator = OPERATORS.get(node.op, OPAQUE)
    return operator if sum(bool(tensor.name) for tensor in node.outputs) <= operator.outputs else OPAQUE
