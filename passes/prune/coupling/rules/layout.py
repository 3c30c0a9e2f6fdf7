"""Operators that only move data along axes: they are carried out on the ids."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from ..builder import (
    DATA,
    NONE,
    ChannelPermutation,
    Channels,
    CouplingBuilder,
    Settled,
    Travel,
    axis_of,
    describe,
)
from ..ids import FIXED, Ids
from .permutation import sizes_are_constant
from .shape_arithmetic import slice_of


def transpose(walk: CouplingBuilder, node: ir.Node) -> Settled:
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None or shape is None:
        return walk.pin_operands(node, "reorders a tensor of unknown rank")
    order = list(node.attr("perm") or reversed(range(len(shape))))
    walk.carry(node.output, order.index(channels.axis), channels.ids)
    return DATA


def concat(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Along the channels: one list after the other.  Along another axis: all lists are the same channels."""
    shape = walk.shape(node.output)
    channels = [walk.channels(tensor) for tensor in node.inputs]
    first = next((one for one in channels if one is not None), None)
    if first is None:
        return NONE
    every = tuple(range(len(node.inputs)))
    if shape is None or any(one is not None and one.axis != first.axis for one in channels):
        return walk.pin_operands(node, "joins channels that lie on different axes")
    if axis_of(node, len(shape), 1) == first.axis:
        if any(
            one is None and walk.shape(tensor) is None
            for one, tensor in zip(channels, node.inputs, strict=True)
        ):
            return walk.pin_operands(node, "joins them with a tensor of unknown size")
        parts = [_ids_or_fixed(walk, tensor, first.axis) for tensor in node.inputs]
        walk.carry(node.output, first.axis, np.concatenate(parts))
        return every
    if any(one is None for one in channels):
        return walk.pin_operands(node, "joins them with a tensor that stays whole")
    for one in channels:
        assert one is not None
        walk.tie(first.ids, one.ids, f"{describe(node)} joins them with channels that stay")
    walk.carry(node.output, first.axis, first.ids)
    return every


def _ids_or_fixed(walk: CouplingBuilder, tensor: ir.Tensor, axis: int) -> Ids:
    channels = walk.channels(tensor)
    return np.full((walk.shape(tensor) or ())[axis], FIXED, np.int64) if channels is None else channels.ids


def split(walk: CouplingBuilder, node: ir.Node) -> Settled:
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    if shape is None or any(walk.shape(tensor) is None for tensor in node.outputs):
        return walk.pin_operands(node, "splits a tensor of unknown size")
    if axis_of(node, len(shape), 0) != channels.axis:
        for tensor in node.outputs:
            walk.carry(tensor, channels.axis, channels.ids)
        return DATA
    if node.input(1) is not None and node.inputs[1].constant is None:
        walk.pin_operands(node, "calculates where to split")
    widths = [(walk.shape(tensor) or ())[channels.axis] for tensor in node.outputs]
    parts = np.split(channels.ids, np.cumsum(widths)[:-1])
    for tensor, part in zip(node.outputs, parts, strict=True):
        walk.carry(tensor, channels.axis, part)
    walk.edit("split", node, channels, *(Channels(channels.axis, part) for part in parts))
    return DATA


def slice_(walk: CouplingBuilder, node: ir.Node) -> Settled:
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    cut = None if shape is None else slice_of(walk, node, len(shape), channels.axis)
    if cut is None:
        return walk.pin_operands(node, "calculates where to cut")
    window, place = cut
    taken = channels.ids[window]
    if walk.same(taken, channels.ids):
        walk.carry(node.output, channels.axis, channels.ids)
        return DATA
    if window.step != 1 and sizes_are_constant(node) and _cuts_only(walk, node, channels.axis):
        order = np.arange(len(channels.ids), dtype=np.int64)[window]
        walk.route(ChannelPermutation(node.inputs[0], node.output, order), channels)
        return DATA
    walk.carry(node.output, channels.axis, taken)
    if window.step != 1 or not sizes_are_constant(node):
        return walk.pin_operands(node, "takes channels by a rule that pruning cannot rewrite")
    walk.edit("slice", node, channels, Channels(channels.axis, taken), place=place)
    return DATA


def _cuts_only(walk: CouplingBuilder, node: ir.Node, axis: int) -> bool:
    """Whether a Slice leaves all other axes as they are."""
    old, new = walk.shape(node.input(0)), walk.shape(node.output)
    if old is None or new is None:
        return False
    cuts = (slice_of(walk, node, len(old), at) for at in range(len(old)) if at != axis)
    return all(cut is not None and cut[0].step in (None, 1) for cut in cuts) and all(
        old[at] == new[at] for at in range(len(old)) if at != axis
    )


def gather(walk: CouplingBuilder, node: ir.Node) -> Settled:
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    indices = walk.shape(node.input(1))
    if channels is None:
        return NONE
    if shape is None or indices is None:
        return walk.pin_operands(node, "picks from a tensor of unknown size")
    pointing = walk.channels(node.input(1))
    if pointing is not None:
        walk.pin(pointing.ids, f"{describe(node)} takes indices from them")
    axis = axis_of(node, len(shape), 0)
    if axis != channels.axis:
        walk.carry(
            node.output, channels.axis + (len(indices) - 1 if axis < channels.axis else 0), channels.ids
        )
        return 0, 1
    chosen = node.inputs[1].constant
    if chosen is None:
        return walk.pin_operands(node, "picks channels by a calculation")
    taken, place = _line_of(channels.ids[chosen])
    if taken is None:
        return walk.pin_operands(node, "picks channels by a table")
    if len(taken) > 1 or chosen.ndim == 1:
        walk.carry(node.output, axis + place, taken)
    else:
        walk.pin(taken, f"{describe(node)} picks this very channel")
    walk.edit("gather", node, channels, Channels(axis + place, taken), place=place)
    return 0, 1


def _line_of(table: Ids) -> tuple[Ids | None, int]:
    """The one axis along which a table of ids varies, and what stands there; None when there are several."""
    if table.ndim < 2:
        return np.atleast_1d(table), 0
    longest = int(np.argmax(table.shape))
    line = np.moveaxis(table, longest, -1).reshape(-1, table.shape[longest])
    return (line[0], longest) if (line == line[0]).all() else (None, 0)


def pad(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Spatial padding passes channels; padding along the channels makes new ones, which may go again."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    widths = None if shape is None else _pad_widths(walk, node, len(shape), channels.axis)
    if widths is None:
        return walk.pin_operands(node, "calculates how much to pad")
    before, after, place = widths
    if before == after == 0:
        walk.carry(node.output, channels.axis, channels.ids)
        return DATA
    if min(before, after) < 0 or _mode(node) != "constant" or not _pads_are_constant(node):
        return walk.pin_operands(node, "pads the channels by a rule that pruning cannot rewrite")
    made = walk.ledger.fresh(before + after)
    made = np.concatenate([made[:before], channels.ids, made[before:]])
    walk.carry(node.output, channels.axis, made)
    walk.edit("pad", node, channels, Channels(channels.axis, made), place=place)
    return DATA


def pad_travel(walk: CouplingBuilder, node: ir.Node) -> Travel:
    """Padding keeps zeros unless it writes another value."""
    mode, fill = _mode(node), node.input(2)
    if mode != "constant":
        return Travel.KEEPS
    if fill is None:
        return Travel.CONSTANT if node.attr("value") else Travel.KEEPS
    return Travel.KEEPS if fill.constant is not None and not np.any(fill.constant != 0) else Travel.CONSTANT


def _pad_widths(walk: CouplingBuilder, node: ir.Node, rank: int, axis: int) -> tuple[int, int, int] | None:
    """Return how much a Pad node adds before and after along one axis, and where its list says so."""
    pads = node.attr("pads", node.attr("paddings"))
    pads = walk.facts.value(node.input(1)) if pads is None else np.asarray(pads)
    if pads is None:
        return None
    axes = list(range(rank))
    if node.input(3) is not None:
        given = walk.facts.value(node.input(3))
        if given is None:
            return None
        axes = [int(a) % rank for a in given]
    if axis not in axes:
        return 0, 0, -1
    place = axes.index(axis)
    return int(pads[place]), int(pads[len(axes) + place]), place


def _mode(node: ir.Node) -> str:
    mode = node.attr("mode", "constant")
    return mode.decode() if isinstance(mode, bytes) else str(mode)


def _pads_are_constant(node: ir.Node) -> bool:
    return all(node.input(i) is None or node.inputs[i].constant is not None for i in (1, 3))
