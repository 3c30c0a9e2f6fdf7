"""Operators that give a tensor another shape: the ids are reshaped, spread or repeated like the data."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from ..builder import DATA, NONE, Channels, CouplingBuilder, Settled, describe
from ..ids import FIXED
from .permutation import find_route
from .shape_arithmetic import follows
from .tables import Table, table_of


def reshape(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Reshape, Flatten, Squeeze, Unsqueeze: the ids are reshaped like the data."""
    channels = walk.channels(node.input(0))
    old, new = walk.shape(node.input(0)), walk.shape(node.output)
    if channels is not None and (old is None or new is None):
        return walk.pin_operands(node, "has an unknown size")
    if channels is not None and node.op == "Squeeze" and node.attr("axes") is None and node.input(1) is None:
        return walk.pin_operands(node, "removes whatever axis has size 1")
    after = None
    if channels is not None and old is not None and new is not None:
        table = table_of(walk.ledger.canonical(channels.ids), channels.axis, old, new)
        if len(table.varying) > 1 and find_route(walk, node, channels):
            return DATA
        after = settle(walk, node, table)
    if node.op == "Reshape":
        follows(walk, node, 1, channels, after)
    elif node.op == "Flatten" and channels is not None and after is None:
        walk.pin_operands(node, "leaves no axis that carries channels alone")
    return DATA


def expand(walk: CouplingBuilder, node: ir.Node) -> Settled:
    channels, old, new = walk.channels(node.input(0)), walk.shape(node.input(0)), walk.shape(node.output)
    after = None
    if channels is not None and old is not None and new is not None:
        axis = channels.axis + len(new) - len(old)
        if new[axis] == len(channels.ids):
            after = walk.carry(node.output, axis, channels.ids)
    if channels is not None and after is None:
        walk.pin_operands(node, "spreads a single channel over many")
    follows(walk, node, 1, channels, after)
    return DATA


def resize(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Resize and Upsample in space."""
    channels, old, new = walk.channels(node.input(0)), walk.shape(node.input(0)), walk.shape(node.output)
    if channels is None:
        return NONE
    crops = "crop" in str(node.attr("coordinate_transformation_mode", ""))
    if old is None or new is None or old[channels.axis] != new[channels.axis] or crops:
        return walk.pin_operands(
            node, "resizes the axis that carries channels, a region, or a tensor of unknown size"
        )
    after = walk.carry(node.output, channels.axis, channels.ids)
    axes = node.attr("axes")
    if node.op != "Resize" or node.input(3) is None:
        return DATA
    if axes is None:
        follows(walk, node, 3, channels, after)
    elif channels.axis in (int(axis) % len(old) for axis in axes):
        walk.pin_operands(node, "gives a size for the axis that carries channels")
    return DATA


def depth_to_space(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Each output channel takes blocksize^2 input channels, which go together."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    if channels.axis != 1 or shape is None:
        return walk.pin_operands(node, "moves an axis that carries channels into space")
    block = int(node.attr("blocksize"))
    mode = node.attr("mode", "DCR")
    table = (
        channels.ids.reshape(block * block, -1)
        if mode in ("DCR", b"DCR")
        else channels.ids.reshape(-1, block * block).T
    )
    for row in table[1:]:
        walk.tie(table[0], row, f"{describe(node)} moves them into space together")
    walk.carry(node.output, 1, table[0])
    return DATA


def space_to_depth(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Each input channel becomes blocksize^2 output channels, which go with it."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    if channels.axis != 1:
        return walk.pin_operands(node, "moves space into an axis that carries no channels")
    walk.carry(node.output, 1, np.tile(channels.ids, int(node.attr("blocksize")) ** 2))
    return DATA


def tile(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Copies side by side carry the same channels."""
    channels, repeats = walk.channels(node.input(0)), walk.facts.value(node.input(1))
    if channels is None:
        return NONE
    if repeats is None or repeats.ndim != 1:
        return walk.pin_operands(node, "calculates how often to repeat")
    walk.carry(node.output, channels.axis, np.tile(channels.ids, int(repeats[channels.axis])))
    return DATA


def settle(walk: CouplingBuilder, node: ir.Node, table: Table) -> Channels | None:
    """Find the one axis that carries channels in a tensor whose ids stand in ``table``.

    Where several axes do (a channel split into groups x C/groups), one stays and the others are tied: one
    place goes in all groups.  It is the widest, but in front of an InstanceNormalization it is the axis that
    normalises each of its entries alone, as a decomposed GroupNormalization wants it, and in attention the
    axis of what it may lose.
    """
    varying = table.varying
    if not varying:
        walk.pin(table.ids.reshape(-1)[:1], f"{describe(node)} leaves no axis that carries channels alone")
        return None
    kept = max(varying, key=table.width)
    unit = walk.heads.axis(node.output) if len(varying) > 1 else None
    if unit in varying:
        kept = unit
    elif 1 in varying and {reader.op for reader in node.output.consumers} == {"InstanceNormalization"}:
        kept = 1
    rows = table.rows(kept)
    for row in rows[1:]:
        walk.tie(rows[0], row, f"{describe(node)} ties them to channels that stay")
    fixed = (rows == FIXED).any(axis=0)
    return walk.carry(node.output, kept, table.along(kept, np.where(fixed, FIXED, rows[0])))
