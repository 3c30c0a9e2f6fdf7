"""Operators with weights: each makes fresh channels, and owns the axes of its parameters."""

from __future__ import annotations

import math

import numpy as np

from graphopt import ir
from graphopt.cost.macs import macs

from .ledger import FIXED, Ids
from .walk import Channels, Layer, Walk, describe


def conv(walk: Walk, node: ir.Node) -> None:
    """Conv: weights (M, C/group, ...), input channels on axis 1."""
    weights = _weights(walk, node, 1)
    if weights is None:
        return
    groups = int(node.attr("group", 1))
    source = _entering(walk, node, 1, weights.shape[1] * groups)
    if groups > 1 and weights.shape[1] == 1:
        _depthwise(walk, node, source, weights.shape[0] // groups)
        return
    made = _fresh(walk, node, source, weights.shape[0])
    _balance(walk, node, source, made, groups)
    walk.slot(node, 1, 0, made, "out")
    walk.slot(node, 1, 1, source, "in", groups)
    _bias_and_output(walk, node, made, 1)


def conv_transpose(walk: Walk, node: ir.Node) -> None:
    """ConvTranspose: weights (C, M/group, ...), input channels on axis 1."""
    weights = _weights(walk, node, 1)
    if weights is None:
        return
    groups = int(node.attr("group", 1))
    source = _entering(walk, node, 1, weights.shape[0])
    if groups > 1 and weights.shape[0] == groups:
        _depthwise(walk, node, source, weights.shape[1])
        return
    made = _fresh(walk, node, source, weights.shape[1] * groups)
    _balance(walk, node, source, made, groups)
    walk.slot(node, 1, 1, made, "out", groups)
    walk.slot(node, 1, 0, source, "in")
    _bias_and_output(walk, node, made, 1)


def gemm(walk: Walk, node: ir.Node) -> None:
    """Gemm: weights (N, K) with transB, else (K, N); input channels on the last axis."""
    weights = _weights(walk, node, 1)
    if weights is None:
        return
    if node.attr("transA", 0):
        _refuse(walk, node, "transposes its input")
        return
    out_axis = 0 if node.attr("transB", 0) else 1
    source = _entering(walk, node, 1, weights.shape[1 - out_axis])
    made = _fresh(walk, node, source, weights.shape[out_axis])
    _own(walk, node, source, 1 - out_axis, made, out_axis)


def matmul(walk: Walk, node: ir.Node) -> None:
    """MatMul of an activation (..., K) with constant weights (K, N)."""
    weights = _weights(walk, node, 1)
    if weights is None:
        return
    shape = walk.shape(node.input(0))
    if weights.ndim != 2 or shape is None:
        _refuse(
            walk,
            node,
            "has weights that are no matrix" if weights.ndim != 2 else "has an input of unknown size",
        )
        return
    source = _entering(walk, node, len(shape) - 1, weights.shape[0])
    made = _fresh(walk, node, source, weights.shape[1])
    _own(walk, node, source, 0, made, 1)


def _weights(walk: Walk, node: ir.Node, index: int) -> ir.Array | None:
    tensor = node.input(index)
    weights = None if tensor is None else tensor.constant
    if weights is None:
        computed = tensor is not None and tensor.producer is not None
        _refuse(
            walk,
            node,
            "computes its weights in the graph" if computed else "lets callers replace its weights",
        )
    return weights


def _refuse(walk: Walk, node: ir.Node, why: str) -> None:
    walk.wall(node, why)
    refusal = f"{describe(node)} {why}"
    walk.layers.append(Layer(node, None, refusal=refusal, fixed=macs(node, walk.shape) or 0))


def _entering(walk: Walk, node: ir.Node, axis: int, count: int) -> Ids:
    """Return the ids of the input channels; FIXED ones when the input carries none."""
    found = walk.channels(node.input(0))
    if found is not None and found.axis == axis and len(found.ids) == count:
        return found.ids
    if found is not None:
        walk.wall(node, f"reads channels that lie on axis {found.axis} of its input")
    return np.full(count, FIXED, np.int64)


def _balance(walk: Walk, node: ir.Node, source: Ids, made: Ids, groups: int) -> None:
    """All groups of a convolution read equally many channels, and make equally many."""
    reason = f"{describe(node)} has groups that must stay equally wide"
    walk.balance(source, groups, reason)
    walk.balance(made, groups, reason)


def _fresh(walk: Walk, node: ir.Node, source: Ids, count: int) -> Ids:
    """Return new output channels; nodes that share their weights share their channels."""
    made = walk.ledger.fresh(count)
    weights = node.inputs[1]
    if weights not in walk.shared:
        walk.shared[weights] = (source, made)
        return made
    reason = f"{describe(node)} shares its weights with another node"
    old_source, old_made = walk.shared[weights]
    if len(old_made) != count or len(old_source) != len(source):
        walk.ledger.wall(np.concatenate([source, made, old_source, old_made]), reason)
        return made
    walk.ledger.tie(old_source, source, reason)
    walk.ledger.tie(old_made, made, reason)
    return made


def _own(walk: Walk, node: ir.Node, inside: Ids, in_axis: int, made: Ids, out_axis: int) -> None:
    walk.slot(node, 1, out_axis, made, "out")
    walk.slot(node, 1, in_axis, inside, "in")
    shape = walk.shape(node.output)
    _bias_and_output(walk, node, made, len(shape) - 1 if node.op == "MatMul" and shape else 1)


def _bias_and_output(walk: Walk, node: ir.Node, made: Ids, axis: int, own: bool = True) -> None:
    bias = node.input(2)
    values = None if bias is None else bias.constant
    if bias is not None and values is None:
        walk.ledger.wall(made, f"{describe(node)} computes its bias in the graph")
    elif values is not None and values.ndim and values.shape[-1] == len(made):
        walk.slot(node, 2, values.ndim - 1, made, "shift")
    elif values is not None and np.any(values != 0):
        walk.ledger.stir(made)
    walk.layers.append(Layer(node, made, positions=_positions(walk, node, len(made)), own=own))
    walk.carry(node.output, axis, made)


def _depthwise(walk: Walk, node: ir.Node, source: Ids, multiplier: int) -> None:
    """One filter, or ``multiplier`` of them, for each channel: the input's channels live on."""
    made = np.repeat(source, multiplier)
    walk.slot(node, 1, 0, made if node.op == "Conv" else source, "scale")
    _bias_and_output(walk, node, made, 1, own=False)
    walk.edit("groups", node, Channels(1, source), Channels(1, made))


def _positions(walk: Walk, node: ir.Node, made: int) -> int:
    """How often the weights are applied: output pixels, or input pixels of a ConvTranspose."""
    transposed = node.op == "ConvTranspose"
    shape = walk.shape(node.input(0) if transposed else node.output)
    if shape is None:
        return 0
    channels = shape[1] if transposed else made
    return math.prod(shape) // max(channels, 1)
