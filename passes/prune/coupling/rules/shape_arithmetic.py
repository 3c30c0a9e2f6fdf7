"""Sizes taken from a tensor at run time: where a number in the graph is a count of channels.

``Shape`` writes the number of channels of its input; what reads that number has to agree with it after
pruning.  A *reference* array stands beside such an integer tensor, entry by entry: 0, or k for the size
of ``walk.counted[k - 1]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.movement import window_of

from ..builder import DATA, NONE, Channels, CouplingBuilder, Settled, axis_of, describe
from ..ids import FIXED

FIRST_ONLY = frozenset(
    {"Gather", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
)  # the other inputs say how to move


def shape_of(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Shape: its entry for the channel axis is a count of channels."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None or shape is None:
        return NONE
    walk.handled.append(channels.ids)
    walk.counted.append(channels)
    references = np.zeros(len(shape), np.int64)
    references[channels.axis] = len(walk.counted)
    end = node.attr("end")
    walk.refer(node.output, references[slice(node.attr("start", 0), end)])
    return DATA


def follow(walk: CouplingBuilder, node: ir.Node) -> bool:
    """Move references through a node that only moves numbers; False when the node does something else."""
    if not any(True for _ in referenced(walk, node)):
        return False
    mover = MOVERS.get(node.op) if node.is_standard else None
    if mover is None or any(index for index, _ in referenced(walk, node) if node.op in FIRST_ONLY):
        return False
    if any(tensor.name and walk.shape(tensor) is None for tensor in node.inputs):
        return False
    moved = mover(walk, node, [_or_zeros(walk, node, index) for index in range(len(node.inputs))])
    if moved is None or walk.shape(node.output) not in (None, moved.shape):
        return False
    walk.refer(node.output, moved)
    return True


def referenced(walk: CouplingBuilder, node: ir.Node) -> Iterator[tuple[int, ir.Array]]:
    """Yield the inputs that hold counts of channels, by place, with their references."""
    for index, tensor in enumerate(node.inputs):
        references = walk.references.get(tensor)
        if references is not None and references.any():
            yield index, references


def follows(
    walk: CouplingBuilder, node: ir.Node, index: int, before: Channels | None, after: Channels | None
) -> None:
    """Let the size input ``index`` of a node agree with what it makes of the channels, or pin them.

    A constant is rewritten by the surgery.  A computed one agrees by itself when its entry for the
    channel axis is -1, or 0 (same as the input), or the number of these same channels.
    """
    walk.checked.add(index)
    tensor = node.inputs[index]
    references = _or_zeros(walk, node, index).reshape(-1)
    settled = None
    if after is not None and references[after.axis : after.axis + 1].any():
        counted = walk.counted[int(references[after.axis]) - 1]
        if walk.same(counted.ids, after.ids):
            settled, references[after.axis] = after.axis, 0
    for reference in walk.referred(references):
        walk.pin(reference.ids, f"{describe(node)} makes a different axis from their number")
    if before is None and after is None:
        return
    if tensor.constant is not None and before is not None and after is not None:
        walk.edit("sizes", node, before, after, place=after.axis)
    elif after is None or (settled is None and not _agrees(walk, node, index, before, after)):
        for end in (before, after):
            if end is not None:
                walk.pin(end.ids, f"{describe(node)} takes its sizes from a calculation")


def _agrees(
    walk: CouplingBuilder, node: ir.Node, index: int, before: Channels | None, after: Channels
) -> bool:
    sizes = walk.facts.value(node.inputs[index])
    if sizes is None or node.op != "Reshape" or before is None:
        return False
    sizes = sizes.reshape(-1)
    copies = [axis for axis, size in enumerate(sizes.tolist()) if size == 0]
    if before.axis in copies and before.axis != after.axis:
        return False  # another axis would copy the number of channels
    if sizes[after.axis] == 0:
        return before.axis == after.axis and walk.same(before.ids, after.ids)
    return bool(sizes[after.axis] == -1)


def _or_zeros(walk: CouplingBuilder, node: ir.Node, index: int) -> ir.Array:
    reference = walk.references.get(node.inputs[index])
    if reference is not None:
        return reference.copy()
    shape = walk.shape(node.inputs[index]) if node.inputs[index].name else ()
    return np.full(shape or (), FIXED, np.int64)


def _gather(walk: CouplingBuilder, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    indices = walk.facts.value(node.input(1))
    return None if indices is None else np.take(arrays[0], indices, axis_of(node, arrays[0].ndim, 0))


def _slice(walk: CouplingBuilder, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    cut = slice_of(walk, node, arrays[0].ndim, 0)
    return None if cut is None else arrays[0][cut[0]]


def _reshape(walk: CouplingBuilder, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    shape = walk.shape(node.output)
    return None if shape is None or int(np.prod(shape)) != arrays[0].size else arrays[0].reshape(shape)


def slice_of(walk: CouplingBuilder, node: ir.Node, rank: int, axis: int) -> tuple[slice, int] | None:
    """Return what a Slice node takes along one axis and where its lists say so; None when that is unknown."""
    return window_of(node, rank, axis, walk.facts.value)


Mover = Callable[[CouplingBuilder, ir.Node, "list[ir.Array]"], "ir.Array | None"]
MOVERS: dict[str, Mover] = {
    "Cast": lambda walk, node, arrays: arrays[0],
    "Concat": lambda walk, node, arrays: np.concatenate([array.reshape(-1) for array in arrays]),
    "Gather": _gather,
    "Identity": lambda walk, node, arrays: arrays[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
}
