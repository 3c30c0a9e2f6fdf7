"""Every operator that channels can be followed through: its rule, and how zeros travel.

A rule says how channel ids travel and which axes of which parameters are cut with them (``walk.slot``).  To
add an operator, give it an entry in OPERATORS; from a package of its own, name an ``Operator`` in the
entry-point group ``graphopt.prune.operators``, under the operator's name for the standard domain, else
``domain.Name``.
"""

from __future__ import annotations

import functools

from graphopt import ir
from graphopt.util.registry import Registry, added

from .builder import CouplingBuilder, Settled, Travel
from .rules import elementwise, fused_attention, layout, norm, reshape, shape_arithmetic, weighted
from .step import Operator

KEEPS, CONSTANT, MIXES = Travel.KEEPS, Travel.CONSTANT, Travel.MIXES
GROUP = "graphopt.prune.operators"
ANY = 2**31  # fixed: more outputs than a node can have


def _opaque(walk: CouplingBuilder, node: ir.Node) -> Settled:
    return walk.pin_operands(node, "may mix them with each other")


OPAQUE = Operator(_opaque, inputs=ANY, outputs=ANY)

# Of layers and normalisations zeros are what the weights, scales and shifts along the channels say.
OPERATORS: dict[str, Operator] = {
    "Conv": Operator(weighted.conv, KEEPS, inputs=3),
    "ConvTranspose": Operator(weighted.conv_transpose, KEEPS, inputs=3),
    "Gemm": Operator(weighted.gemm, KEEPS, inputs=3),
    "MatMul": Operator(weighted.matmul, weighted.matmul_travel, inputs=2),
    "BatchNormalization": Operator(norm.normalise, KEEPS, inputs=5),
    "InstanceNormalization": Operator(norm.normalise, KEEPS, inputs=3),
    "GroupNormalization": Operator(norm.group_norm, MIXES, inputs=3),
    "LayerNormalization": Operator(norm.layer_norm, norm.layer_norm_travel, inputs=3, outputs=3),
    "RMSNormalization": Operator(norm.layer_norm, norm.layer_norm_travel, inputs=2),
    "Attention": Operator(fused_attention.attention, MIXES, inputs=6, outputs=4),
    "com.microsoft.MultiHeadAttention": Operator(fused_attention.attention, MIXES, inputs=8, outputs=3),
    "Concat": Operator(layout.concat, KEEPS, inputs=ANY),
    "DepthToSpace": Operator(reshape.depth_to_space, KEEPS),
    "Expand": Operator(reshape.expand, KEEPS, inputs=2),
    "Flatten": Operator(reshape.reshape, KEEPS),
    "Gather": Operator(layout.gather, KEEPS, inputs=2),
    "Pad": Operator(layout.pad, layout.pad_travel, inputs=4),
    "Reshape": Operator(reshape.reshape, KEEPS, inputs=2),
    "Resize": Operator(reshape.resize, KEEPS, inputs=4),
    "Shape": Operator(shape_arithmetic.shape_of),
    "Slice": Operator(layout.slice_, KEEPS, inputs=5),
    "SpaceToDepth": Operator(reshape.space_to_depth, KEEPS),
    "Split": Operator(layout.split, KEEPS, inputs=2, outputs=ANY),
    "Squeeze": Operator(reshape.reshape, KEEPS, inputs=2),
    "Tile": Operator(reshape.tile, KEEPS, inputs=2),
    "Transpose": Operator(layout.transpose, KEEPS),
    "Unsqueeze": Operator(reshape.reshape, KEEPS, inputs=2),
    "Upsample": Operator(reshape.resize, KEEPS, inputs=2),
    **dict.fromkeys(
        elementwise.UNARY_KEEPING_ZERO + elementwise.UNARY,
        Operator(elementwise.unary, elementwise.unary_travel),
    ),
    "Clip": Operator(elementwise.unary, elementwise.unary_travel, inputs=3),
    "Dropout": Operator(elementwise.unary, elementwise.unary_travel, inputs=3, outputs=2),
    # What is added to some operands breaks zeros in the rule itself.
    **dict.fromkeys(
        elementwise.ADDING + elementwise.SCALING, Operator(elementwise.combine, KEEPS, inputs=ANY)
    ),
    **dict.fromkeys(elementwise.COMBINING, Operator(elementwise.combine, CONSTANT, inputs=ANY)),
    **dict.fromkeys(elementwise.POOLING, Operator(elementwise.pool, KEEPS)),
    "MaxPool": Operator(elementwise.pool, KEEPS, outputs=2),
    **dict.fromkeys(elementwise.REDUCING, Operator(elementwise.reduce, elementwise.reduce_travel, inputs=2)),
    **dict.fromkeys(
        ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization"], Operator(norm.over_an_axis, CONSTANT)
    ),
    "CumSum": Operator(norm.over_an_axis, CONSTANT, inputs=2),
    **dict.fromkeys(["GridSample", "MaxRoiPool"], Operator(elementwise.sample, KEEPS, inputs=2)),
    "RoiAlign": Operator(elementwise.sample, KEEPS, inputs=3),
}


def operator_of(graph: ir.Graph, node: ir.Node) -> Operator:
    """Return how to follow channels through a node; opaque where that is not known."""
    name = node.op if node.is_standard else f"{node.domain}.{node.op}"
    if node in graph.owners or name not in operators():
        return OPAQUE
    operator: Operator = operators().load(name)
    return operator if operator.knows(node) else OPAQUE


@functools.cache
def operators() -> Registry:
    """All operators by name: ours, and those that other packages add."""
    return Registry(added(GROUP), kind="coupled operator", built_in=OPERATORS, of=Operator)
