"""Normalisations: of each channel by itself, of groups of channels, and over all channels."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from ..builder import DATA, NONE, Channels, CouplingBuilder, Role, Settled, Travel, describe
from ..ids import Ids

ROLES: tuple[Role, ...] = ("scale", "shift", "shift", "scale")  # scale, bias, mean, variance
INEXACT = "allow_inexact lets it"


def normalise(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """BatchNormalization and InstanceNormalization: one entry of each parameter for each channel."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    if channels.axis != 1 or len(node.outputs) > 1 or not _parameters_are_constant(node):
        return walk.pin_operands(node, "is in training mode or computes its parameters in the graph")
    for index, role in zip(range(1, len(node.inputs)), ROLES, strict=False):
        walk.slot(node, index, 0, channels.ids, role)
    walk.carry(node.output, 1, channels.ids)
    return DATA


def group_norm(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """GroupNormalization: exact for whole groups, because the mean of a group depends on all its channels."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    groups = int(node.attr("num_groups"))
    if channels.axis != 1 or not _parameters_are_constant(node) or len(channels.ids) % groups:
        return walk.pin_operands(node, "computes its parameters in the graph or normalises another axis")
    blocks = channels.ids.reshape(groups, -1)
    if walk.facts.allow_inexact:
        walk.inexact(channels.ids)
        walk.balance(channels.ids, groups, f"{describe(node)} has groups that must stay equally wide")
        per_group = None
    else:
        for column in blocks.T[1:]:
            walk.tie(blocks[:, 0], column, f"{describe(node)} normalises them together")
        walk.edit("norm_groups", node, channels, Channels(1, channels.ids))
        per_group = blocks[:, 0]
    _affine(walk, node, channels.ids, per_group, 0)
    walk.carry(node.output, 1, channels.ids)
    return DATA


def layer_norm(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """LayerNormalization and RMSNormalization: over the channels no removal is exact."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    if shape is None:
        return walk.pin_operands(node, "normalises a tensor of unknown rank")
    if channels.axis >= int(node.attr("axis", -1)) % len(shape):
        walk.inexact(channels.ids)
        if not walk.facts.allow_inexact:
            walk.pin(
                channels.ids,
                f"{describe(node)} normalises over them, so removing one changes the rest ({INEXACT})",
            )
    if any(_is_computed(walk, node.input(index), len(shape) - channels.axis) for index in (1, 2)):
        walk.pin(channels.ids, f"{describe(node)} computes its parameters in the graph")
    if any(tensor.name for tensor in node.outputs[1:]):
        walk.pin(channels.ids, f"{describe(node)} also outputs its statistics")
    _affine(walk, node, channels.ids, None, channels.axis - len(shape))
    walk.carry(node.output, channels.axis, channels.ids)
    return DATA


def layer_norm_travel(walk: CouplingBuilder, node: ir.Node) -> Travel:
    """Over the channels values mix; over other axes zeros become the bias."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None or shape is None or channels.axis >= int(node.attr("axis", -1)) % len(shape):
        return Travel.MIXES
    bias = node.input(2)
    values = None if bias is None else bias.constant
    stays = bias is None or (values is not None and not np.any(values != 0))
    return Travel.KEEPS if stays else Travel.CONSTANT


def _is_computed(walk: CouplingBuilder, tensor: ir.Tensor | None, rank: int) -> bool:
    """Whether a parameter is computed and has an axis ``rank`` from its end, other than of size 1."""
    if tensor is None or tensor.constant is not None:
        return False
    shape = walk.shape(tensor)
    return shape is None or (len(shape) >= rank and shape[-rank] != 1)


def _affine(walk: CouplingBuilder, node: ir.Node, ids: Ids, per_group: Ids | None, axis: int) -> None:
    """Let scale and bias follow; ``axis`` counts from the end when it is negative."""
    for index, role in ((1, "scale"), (2, "shift")):
        tensor = node.input(index)
        values = None if tensor is None else tensor.constant
        if values is None or values.ndim < -axis:
            continue
        at = axis % values.ndim
        if values.shape[at] == len(ids):
            walk.slot(node, index, at, ids, role)  # type: ignore[arg-type]
        elif per_group is not None and values.shape[at] == len(per_group):
            walk.slot(node, index, at, per_group, role)  # type: ignore[arg-type]


def over_an_axis(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Softmax and its like: channels pass when they lie on another axis."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    axis = node.attr("axis", -1 if walk.graph.opset >= 13 or node.op == "LpNormalization" else 1)
    if node.op == "CumSum":
        given = walk.facts.value(node.input(1))
        axis = None if given is None else given.reshape(-1)[0]
    if shape is None or axis is None or _spans(walk, node, int(axis) % len(shape), channels.axis):
        return walk.pin_operands(node, "mixes them with each other")
    walk.carry(node.output, channels.axis, channels.ids)
    return DATA


def _spans(walk: CouplingBuilder, node: ir.Node, axis: int, channels: int) -> bool:
    """Whether a Softmax or its like spans the axis of the channels: before opset 13 all from its axis on."""
    flattens = node.op not in ("LpNormalization", "CumSum") and walk.graph.opset < 13
    return channels >= axis if flattens else channels == axis


def _parameters_are_constant(node: ir.Node) -> bool:
    given = [node.input(index) for index in range(1, len(node.inputs))]
    return all(tensor is not None and tensor.constant is not None for tensor in given)


def means_over_channels(walk: CouplingBuilder, node: ir.Node, channels: Channels) -> bool:
    """Whether a mean over the channels may lose some: inexact, and only when that is allowed."""
    if not walk.facts.allow_inexact or node.op != "ReduceMean":
        return False
    walk.inexact(channels.ids)
    return True
