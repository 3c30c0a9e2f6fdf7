"""Operators that give a tensor another shape: the ids are reshaped, spread or repeated like the data."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from .ledger import FIXED, Ids
from .routes import find_route
from .sizes import follows
from .walk import Channels, Walk, describe


def reshape(walk: Walk, node: ir.Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the ids are reshaped like the data."""
    found = walk.channels(node.input(0))
    old, new = walk.shape(node.input(0)), walk.shape(node.output)
    if found is not None and (old is None or new is None):
        walk.wall(node, "has an unknown size")
        return
    if found is not None and node.op == "Squeeze" and node.attr("axes") is None and node.input(1) is None:
        walk.wall(node, "removes whatever axis has size 1")
        return
    after = None
    if found is not None and old is not None and new is not None:
        spread = np.broadcast_to(walk.ledger.canonical(along(found, len(old))), old).reshape(new)
        varying = [axis for axis in range(spread.ndim) if np.any(spread != spread.take([0], axis))]
        if len(varying) > 1 and find_route(walk, node, found):
            return
        after = settle(walk, node, spread, varying)
    if node.op == "Reshape":
        follows(walk, node, 1, found, after)
    elif node.op == "Flatten" and found is not None and after is None:
        walk.wall(node, "leaves no axis that carries channels alone")


def expand(walk: Walk, node: ir.Node) -> None:
    found, old, new = walk.channels(node.input(0)), walk.shape(node.input(0)), walk.shape(node.output)
    after = None
    if found is not None and old is not None and new is not None:
        axis = found.axis + len(new) - len(old)
        if new[axis] == len(found.ids):
            after = walk.carry(node.output, axis, found.ids)
    if found is not None and after is None:
        walk.wall(node, "spreads a single channel over many")
    follows(walk, node, 1, found, after)


def resize(walk: Walk, node: ir.Node) -> None:
    """Resize and Upsample in space."""
    found, old, new = walk.channels(node.input(0)), walk.shape(node.input(0)), walk.shape(node.output)
    if found is None:
        return
    crops = "crop" in str(node.attr("coordinate_transformation_mode", ""))
    if old is None or new is None or old[found.axis] != new[found.axis] or crops:
        walk.wall(node, "resizes the axis that carries channels, a region, or a tensor of unknown size")
        return
    after = walk.carry(node.output, found.axis, found.ids)
    axes = node.attr("axes")
    if node.op != "Resize" or node.input(3) is None:
        return
    if axes is None:
        follows(walk, node, 3, found, after)
    elif found.axis in (int(axis) % len(old) for axis in axes):
        walk.wall(node, "gives a size for the axis that carries channels")


def depth_to_space(walk: Walk, node: ir.Node) -> None:
    """Each output channel takes blocksize^2 input channels, which go together."""
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None:
        return
    if found.axis != 1 or shape is None:
        walk.wall(node, "moves an axis that carries channels into space")
        return
    block = int(node.attr("blocksize"))
    mode = node.attr("mode", "DCR")
    table = (
        found.ids.reshape(block * block, -1)
        if mode in ("DCR", b"DCR")
        else found.ids.reshape(-1, block * block).T
    )
    for row in table[1:]:
        walk.ledger.tie(table[0], row, f"{describe(node)} moves them into space together")
    walk.carry(node.output, 1, table[0])


def space_to_depth(walk: Walk, node: ir.Node) -> None:
    """Each input channel becomes blocksize^2 output channels, which go with it."""
    found = walk.channels(node.input(0))
    if found is None:
        return
    if found.axis != 1:
        walk.wall(node, "moves space into an axis that carries no channels")
        return
    walk.carry(node.output, 1, np.tile(found.ids, int(node.attr("blocksize")) ** 2))


def tile(walk: Walk, node: ir.Node) -> None:
    """Copies side by side carry the same channels."""
    found, repeats = walk.channels(node.input(0)), walk.facts.value(node.input(1))
    if found is None:
        return
    if repeats is None or repeats.ndim != 1:
        walk.wall(node, "calculates how often to repeat")
        return
    walk.carry(node.output, found.axis, np.tile(found.ids, int(repeats[found.axis])))


def along(found: Channels, rank: int) -> Ids:
    """Return the ids as an array of ``rank`` dimensions that broadcasts to the tensor."""
    return found.ids.reshape([-1 if axis == found.axis else 1 for axis in range(rank)])


def settle(walk: Walk, node: ir.Node, spread: Ids, varying: list[int]) -> Channels | None:
    """Find the one axis that carries channels in a table of ids of the tensor's shape.

    Where several axes do (``varying``; a channel split into groups x C/groups), one stays and the others are
    tied: one place goes in all groups.  It is the widest, but in front of an InstanceNormalization it
    is the axis that normalises each of its entries alone, as a decomposed GroupNormalization wants it.
    """
    if not varying:
        walk.ledger.wall(
            spread.reshape(-1)[:1], f"{describe(node)} leaves no axis that carries channels alone"
        )
        return None
    kept = max(varying, key=lambda axis: spread.shape[axis])
    if 1 in varying and {reader.op for reader in node.output.consumers} == {"InstanceNormalization"}:
        kept = 1
    rows = np.moveaxis(spread, kept, -1).reshape(-1, spread.shape[kept])
    rows = np.unique(rows, axis=0) if len(varying) > 1 else rows[:1]
    for row in rows[1:]:
        walk.ledger.tie(rows[0], row, f"{describe(node)} ties them to channels that stay")
    fixed = (rows == FIXED).any(axis=0)
    return walk.carry(node.output, kept, np.where(fixed, FIXED, rows[0]))
