"""Sizes taken from a tensor at run time: where a number in the graph is a count of channels.

``Shape`` writes the number of channels of its input; what reads that number has to agree with it after
pruning.  A *reference* array stands beside such an integer tensor, entry by entry: 0, or k for the size
of ``walk.counted[k - 1]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphopt import ir

from .ledger import FIXED
from .walk import Channels, Walk, axis_of, describe

CONSUMERS = frozenset({"Reshape", "Expand", "Resize"})  # these check the reference themselves


def shape_of(walk: Walk, node: ir.Node) -> None:
    """Shape: its entry for the channel axis is a count of channels."""
    found, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if found is None or shape is None:
        return
    walk.counted.append(found)
    references = np.zeros(len(shape), np.int64)
    references[found.axis] = len(walk.counted)
    end = node.attr("end")
    walk.references[node.output] = references[slice(node.attr("start", 0), end)]


def follow(walk: Walk, node: ir.Node) -> bool:
    """Move references through a node that only moves numbers; False when the node does something else.

    Counting with a channel count (Mul, Div, ConstantOfShape, ...) walls those channels off.
    """
    arrays = [walk.references.get(tensor) for tensor in node.inputs]
    if not any(array is not None and array.any() for array in arrays):
        return False
    mover = MOVERS.get(node.op)
    moved = (
        None if mover is None else mover(walk, node, [_or_zeros(walk, node, i) for i in range(len(arrays))])
    )
    if moved is not None:
        walk.references[node.output] = moved
        return True
    if node.op not in CONSUMERS:
        for found in referred(walk, arrays):
            walk.ledger.wall(found.ids, f"{describe(node)} calculates with their number")
    return False


def referred(walk: Walk, arrays: list[ir.Array | None]) -> Iterator[Channels]:
    """Yield the channels whose number stands in these arrays."""
    for array in arrays:
        if array is not None:
            for reference in np.unique(array[array > 0]).tolist():
                yield walk.counted[reference - 1]


def follows(walk: Walk, node: ir.Node, index: int, before: Channels | None, after: Channels | None) -> None:
    """Let the size input ``index`` of a node agree with what it makes of the channels, or wall them off.

    A constant is rewritten by the surgery.  A computed one agrees by itself when its entry for the
    channel axis is -1, or 0 (same as the input), or the number of these same channels.
    """
    tensor = node.inputs[index]
    references = _or_zeros(walk, node, index).reshape(-1)
    settled = None
    if after is not None and references[after.axis : after.axis + 1].any():
        counted = walk.counted[int(references[after.axis]) - 1]
        if walk.same(counted.ids, after.ids):
            settled, references[after.axis] = after.axis, 0
    for found in referred(walk, [references]):
        walk.ledger.wall(found.ids, f"{describe(node)} makes a different axis from their number")
    if before is None and after is None:
        return
    if tensor.constant is not None and before is not None and after is not None:
        walk.edit("sizes", node, before, after, place=after.axis)
    elif after is None or (settled is None and not _agrees(walk, node, index, before, after)):
        for end in (before, after):
            if end is not None:
                walk.ledger.wall(end.ids, f"{describe(node)} takes its sizes from a calculation")


def _agrees(walk: Walk, node: ir.Node, index: int, before: Channels | None, after: Channels) -> bool:
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


def _or_zeros(walk: Walk, node: ir.Node, index: int) -> ir.Array:
    found = walk.references.get(node.inputs[index])
    if found is not None:
        return found.copy()
    shape = walk.shape(node.inputs[index]) if node.inputs[index].name else ()
    return np.full(shape or (), FIXED, np.int64)


def _gather(walk: Walk, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    indices = walk.facts.value(node.input(1))
    return None if indices is None else np.take(arrays[0], indices, axis_of(node, arrays[0].ndim, 0))


def _slice(walk: Walk, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    found = slice_of(walk, node, arrays[0].ndim, 0)
    return None if found is None else arrays[0][found[0]]


def _reshape(walk: Walk, node: ir.Node, arrays: list[ir.Array]) -> ir.Array | None:
    shape = walk.shape(node.output)
    return None if shape is None or int(np.prod(shape)) != arrays[0].size else arrays[0].reshape(shape)


def slice_of(walk: Walk, node: ir.Node, rank: int, axis: int) -> tuple[slice, int] | None:
    """Return what a Slice node takes along one axis and where its lists say so; None when that is unknown."""
    names = ("starts", "ends", "axes", "steps")
    if node.attr("starts") is not None:
        given: list[Any] = [node.attr(name) for name in names]
    else:
        given = [walk.facts.value(node.input(index)) for index in (1, 2, 3, 4)]
        if any(node.input(i) is not None and given[i - 1] is None for i in (1, 2, 3, 4)):
            return None
    starts, ends = list(given[0]), list(given[1])
    axes = range(len(starts)) if given[2] is None else [int(a) % rank for a in given[2]]
    steps = [1] * len(starts) if given[3] is None else list(given[3])
    for place, at in enumerate(axes):
        if at == axis:
            return _python_slice(int(starts[place]), int(ends[place]), int(steps[place])), place
    return slice(None), -1


def _python_slice(start: int, end: int, step: int) -> slice:
    # ONNX lets a backward slice end below -dim to include entry 0; Python wants None there.
    return slice(start, None if step < 0 and end < -(2**31) + 1 else end, step)


Mover = Callable[[Walk, ir.Node, "list[ir.Array]"], "ir.Array | None"]
MOVERS: dict[str, Mover] = {
    "Cast": lambda walk, node, arrays: arrays[0],
    "Concat": lambda walk, node, arrays: np.concatenate([array.reshape(-1) for array in arrays]),
    "Gather": _gather,
    "Identity": lambda walk, node, arrays: arrays[0],
    "Slice": _slice,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
}
