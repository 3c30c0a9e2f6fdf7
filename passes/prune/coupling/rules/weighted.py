"""Operators with weights: each makes fresh channels, and owns the axes of its parameters."""

from __future__ import annotations

import math

import numpy as np

from graphopt import ir
from graphopt.cost.static.macs import macs
from graphopt.ir.analysis.attention import is_product

from ..builder import Channels, CouplingBuilder, Layer, Settled, Travel, describe
from ..ids import FIXED, Ids
from . import attention


def conv(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Conv: weights (M, C/group, ...), input channels on axis 1."""
    weights = _weights(node)
    if weights is None:
        return _refuse(walk, node, _why_unknown(node))
    groups = int(node.attr("group", 1))
    source = _entering(walk, node, 1, weights.shape[1] * groups)
    if groups > 1 and weights.shape[1] == 1:
        return _depthwise(walk, node, source, weights.shape[0] // groups)
    made = _fresh(walk, node, source, weights.shape[0])
    _balance(walk, node, source, made, groups)
    walk.slot(node, 1, 0, made, "out")
    walk.slot(node, 1, 1, source, "in", groups)
    return _bias_and_output(walk, node, made, 1)


def conv_transpose(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """ConvTranspose: weights (C, M/group, ...), input channels on axis 1."""
    weights = _weights(node)
    if weights is None:
        return _refuse(walk, node, _why_unknown(node))
    groups = int(node.attr("group", 1))
    source = _entering(walk, node, 1, weights.shape[0])
    if groups > 1 and weights.shape[0] == groups:
        return _depthwise(walk, node, source, weights.shape[1])
    made = _fresh(walk, node, source, weights.shape[1] * groups)
    _balance(walk, node, source, made, groups)
    walk.slot(node, 1, 1, made, "out", groups)
    walk.slot(node, 1, 0, source, "in")
    return _bias_and_output(walk, node, made, 1)


def gemm(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Gemm: weights (N, K) with transB, else (K, N); input channels on the last axis."""
    weights = _weights(node)
    if weights is None:
        return _refuse(walk, node, _why_unknown(node))
    if node.attr("transA", 0):
        return _refuse(walk, node, "transposes its input")
    out_axis = 0 if node.attr("transB", 0) else 1
    source = _entering(walk, node, 1, weights.shape[1 - out_axis])
    made = _fresh(walk, node, source, weights.shape[out_axis])
    walk.slot(node, 1, out_axis, made, "out")
    walk.slot(node, 1, 1 - out_axis, source, "in")
    return _bias_and_output(walk, node, made, 1)


def matmul(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """MatMul of an activation (..., K) with constant weights (K, N), or of two activations."""
    weights = _weights(node)
    if is_product(node):
        return attention.product(walk, node)
    if weights is None:
        return _refuse(walk, node, _why_unknown(node))
    shape = walk.shape(node.input(0))
    if weights.ndim != 2:
        return _refuse(walk, node, "has weights that are not a matrix")
    if shape is None:
        return _refuse(walk, node, "has an input of unknown size")
    source = _entering(walk, node, len(shape) - 1, weights.shape[0])
    made = _fresh(walk, node, source, weights.shape[1])
    walk.slot(node, 1, 1, made, "out")
    walk.slot(node, 1, 0, source, "in")
    return _bias_and_output(walk, node, made, len(shape) - 1)  # a matrix leaves the rank as it is


def matmul_travel(walk: CouplingBuilder, node: ir.Node) -> Travel:
    """A product of two activations mixes what they carry."""
    return Travel.MIXES if is_product(node) else Travel.KEEPS


def _weights(node: ir.Node) -> ir.Array | None:
    tensor = node.input(1)
    return None if tensor is None else tensor.constant


def _why_unknown(node: ir.Node) -> str:
    tensor = node.input(1)
    computed = tensor is not None and tensor.producer is not None
    return "computes its weights in the graph" if computed else "lets callers replace its weights"


def _refuse(walk: CouplingBuilder, node: ir.Node, why: str) -> Settled:
    refusal = f"{describe(node)} {why}"
    walk.layers.append(Layer(node, None, refusal=refusal, fixed=macs(node, walk.shape) or 0))
    return walk.pin_operands(node, why)


def _entering(walk: CouplingBuilder, node: ir.Node, axis: int, count: int) -> Ids:
    """Return the ids of the input channels; FIXED ones when the input carries none."""
    channels = walk.channels(node.input(0))
    if channels is not None and channels.axis == axis and len(channels.ids) == count:
        return channels.ids
    if channels is not None:
        walk.pin(
            channels.ids, f"{describe(node)} reads channels that lie on axis {channels.axis} of its input"
        )
    return np.full(count, FIXED, np.int64)


def _balance(walk: CouplingBuilder, node: ir.Node, source: Ids, made: Ids, groups: int) -> None:
    """All groups of a convolution read equally many channels, and make equally many."""
    reason = f"{describe(node)} has groups that must stay equally wide"
    walk.balance(source, groups, reason)
    walk.balance(made, groups, reason)


def _fresh(walk: CouplingBuilder, node: ir.Node, source: Ids, count: int) -> Ids:
    """Return new output channels; nodes that share their weights share their channels."""
    made = walk.ledger.fresh(count)
    weights = node.inputs[1]
    if weights not in walk.shared:
        walk.shared[weights] = (source, made)
        return made
    reason = f"{describe(node)} shares its weights with another node"
    old_source, old_made = walk.shared[weights]
    if len(old_made) != count or len(old_source) != len(source):
        walk.pin(np.concatenate([source, made, old_source, old_made]), reason)
        return made
    walk.tie(old_source, source, reason)
    walk.tie(old_made, made, reason)
    return made


def _bias_and_output(walk: CouplingBuilder, node: ir.Node, made: Ids, axis: int, own: bool = True) -> Settled:
    """Let the bias and the output carry what a layer makes; the other operands are settled by then."""
    _bias(walk, node, made)
    walk.layers.append(Layer(node, made, positions=_positions(walk, node, len(made)), own=own))
    walk.carry(node.output, axis, made)
    return 0, 2


def _bias(walk: CouplingBuilder, node: ir.Node, made: Ids) -> None:
    """Cut a constant bias, tie a computed one whose last axis carries channels, or pin what is made."""
    bias = node.input(2)
    if bias is None:
        return
    values, channels, shape = bias.constant, walk.channels(bias), walk.shape(bias)
    if values is not None:
        if values.ndim and values.shape[-1] == len(made):
            walk.slot(node, 2, values.ndim - 1, made, "shift")
        elif np.any(values != 0):
            walk.ledger.break_zeros(made)
    elif (
        channels is not None
        and shape is not None
        and channels.axis == len(shape) - 1
        and shape[-1] == len(made)
    ):
        walk.tie(made, channels.ids, f"{describe(node)} adds them to channels that stay")
    else:
        if shape is not None and (not shape or shape[-1] == 1 != len(made)):
            walk.ledger.break_zeros(made)
        else:
            walk.pin(made, f"{describe(node)} computes its bias in the graph")
        if channels is not None:
            walk.pin(channels.ids, f"{describe(node)} adds them to channels of another axis")


def _depthwise(walk: CouplingBuilder, node: ir.Node, source: Ids, multiplier: int) -> Settled:
    """One filter, or ``multiplier`` of them, for each channel: the input's channels live on."""
    made = np.repeat(source, multiplier)
    walk.slot(node, 1, 0, made if node.op == "Conv" else source, "scale")
    walk.edit("groups", node, Channels(1, source), Channels(1, made))
    return _bias_and_output(walk, node, made, 1, own=False)


def _positions(walk: CouplingBuilder, node: ir.Node, made: int) -> int:
    """How often the weights are applied: output pixels, or input pixels of a ConvTranspose."""
    transposed = node.op == "ConvTranspose"
    shape = walk.shape(node.input(0) if transposed else node.output)
    if shape is None:
        return 0
    channels = shape[1] if transposed else made
    return math.prod(shape) // max(channels, 1)
