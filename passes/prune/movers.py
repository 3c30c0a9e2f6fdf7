"""Operators that only move data: they are carried out on the ids."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from .ledger import FIXED, Ids
from .routes import find_route, sizes_are_constant
from .sizes import follows, slice_of
from .walk import Channels, Route, Walk, axis_of, describe


def transpose(walk: Walk, node: ir.Node) -> None:
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None or shape is None:
        walk.wall(node, "reorders a tensor of unknown rank")
        return
    order = list(node.attr("perm") or reversed(range(len(shape))))
    walk.carry(node.output, order.index(found.axis), found.ids)


def concat(walk: Walk, node: ir.Node) -> None:
    """Along the channels: one list after the other.  Along another axis: all lists are the same channels."""
    shape = walk.shape(node.output)
    found = [walk.channels(tensor) for tensor in node.inputs]
    first = next((one for one in found if one is not None), None)
    if first is None:
        return
    if shape is None or any(one is not None and one.axis != first.axis for one in found):
        walk.wall(node, "joins channels that lie on different axes")
    elif axis_of(node, len(shape), 1) == first.axis:
        parts = [_ids_or_fixed(walk, tensor, first.axis) for tensor in node.inputs]
        walk.carry(node.output, first.axis, np.concatenate(parts))
    elif any(one is None for one in found):
        walk.wall(node, "joins them with a tensor that stays whole")
    else:
        for one in found:
            assert one is not None
            walk.ledger.tie(first.ids, one.ids, f"{describe(node)} joins them with channels that stay")
        walk.carry(node.output, first.axis, first.ids)


def _ids_or_fixed(walk: Walk, tensor: ir.Tensor, axis: int) -> Ids:
    found = walk.channels(tensor)
    return np.full((walk.shape(tensor) or ())[axis], FIXED, np.int64) if found is None else found.ids


def split(walk: Walk, node: ir.Node) -> None:
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None:
        return
    if shape is None or any(walk.shape(tensor) is None for tensor in node.outputs):
        walk.wall(node, "splits a tensor of unknown size")
    elif axis_of(node, len(shape), 0) != found.axis:
        for tensor in node.outputs:
            walk.carry(tensor, found.axis, found.ids)
    else:
        if node.input(1) is not None and node.inputs[1].constant is None:
            walk.wall(node, "calculates where to split")
        widths = [(walk.shape(tensor) or ())[found.axis] for tensor in node.outputs]
        parts = np.split(found.ids, np.cumsum(widths)[:-1])
        for tensor, part in zip(node.outputs, parts, strict=True):
            walk.carry(tensor, found.axis, part)
        walk.edit("split", node, found, *(Channels(found.axis, part) for part in parts))


def slice_(walk: Walk, node: ir.Node) -> None:
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None:
        return
    cut = None if shape is None else slice_of(walk, node, len(shape), found.axis)
    if cut is None:
        walk.wall(node, "calculates where to cut")
        return
    window, place = cut
    taken = found.ids[window]
    if walk.same(taken, found.ids):
        walk.carry(node.output, found.axis, found.ids)
        return
    if window.step != 1 and sizes_are_constant(node) and _cuts_only(walk, node, found.axis):
        order = np.arange(len(found.ids), dtype=np.int64)[window]
        walk.route(Route(node.inputs[0], node.output, order), found)
        return
    walk.carry(node.output, found.axis, taken)
    if window.step != 1 or not sizes_are_constant(node):
        walk.wall(node, "takes channels by a rule that pruning cannot rewrite")
        return
    walk.edit("slice", node, found, Channels(found.axis, taken), place=place)


def _cuts_only(walk: Walk, node: ir.Node, axis: int) -> bool:
    """Whether a Slice leaves all other axes as they are."""
    old, new = walk.shape(node.input(0)), walk.shape(node.output)
    if old is None or new is None:
        return False
    cuts = (slice_of(walk, node, len(old), at) for at in range(len(old)) if at != axis)
    return all(cut is not None and cut[0].step in (None, 1) for cut in cuts) and all(
        old[at] == new[at] for at in range(len(old)) if at != axis
    )


def gather(walk: Walk, node: ir.Node) -> None:
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    indices = walk.shape(node.input(1))
    if found is None:
        return
    if shape is None or indices is None:
        walk.wall(node, "picks from a tensor of unknown size")
        return
    axis = axis_of(node, len(shape), 0)
    if axis != found.axis:
        walk.carry(node.output, found.axis + (len(indices) - 1 if axis < found.axis else 0), found.ids)
        return
    chosen = node.inputs[1].constant
    if chosen is None or chosen.ndim > 1:
        walk.wall(node, "picks channels by a calculation or a table")
        return
    taken = np.atleast_1d(found.ids[chosen])
    if chosen.ndim:
        walk.carry(node.output, axis, taken)
    else:
        walk.ledger.wall(taken, f"{describe(node)} picks this very channel")
    walk.edit("gather", node, found, Channels(axis, taken))


def pad(walk: Walk, node: ir.Node) -> None:
    """Spatial padding passes channels; padding along the channels makes new ones, which may go again."""
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None:
        return
    widths = None if shape is None else _pad_widths(walk, node, len(shape), found.axis)
    if widths is None:
        walk.wall(node, "calculates how much to pad")
        return
    if _pads_with_other_values(node):
        walk.ledger.stir(found.ids)
    before, after, place = widths
    if before == after == 0:
        walk.carry(node.output, found.axis, found.ids)
        return
    if min(before, after) < 0 or _mode(node) != "constant" or not _pads_are_constant(node):
        walk.wall(node, "pads the channels by a rule that pruning cannot rewrite")
        return
    made = walk.ledger.fresh(before + after)
    if _pads_with_other_values(node):
        walk.ledger.stir(made)
    made = np.concatenate([made[:before], found.ids, made[before:]])
    walk.carry(node.output, found.axis, made)
    walk.edit("pad", node, found, Channels(found.axis, made), place=place)


def _pad_widths(walk: Walk, node: ir.Node, rank: int, axis: int) -> tuple[int, int, int] | None:
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


def _pads_with_other_values(node: ir.Node) -> bool:
    if _mode(node) != "constant" or node.attr("value"):
        return _mode(node) == "constant"
    fill = node.input(2)
    return fill is not None and (fill.constant is None or bool(np.any(fill.constant != 0)))


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
