"""Operators that only move the entries of a tensor, carried out on any array that stands for one.

Whoever wants to know where the entries of a tensor come to lie numbers them and lets the numbers travel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from graphopt.ir.graph import Node
    from graphopt.ir.io.weights import Array
    from graphopt.ir.tensor import Tensor

SAME_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
MOVING = (*SAME_ORDER, "Transpose", "Gather", "Slice", "Split")  # what moves entries of the first input

ShapeOf: TypeAlias = "Callable[[Tensor], tuple[int, ...] | None]"
ValueOf: TypeAlias = "Callable[[Tensor], Array | None]"


def moved(node: Node, numbers: Array, shape: ShapeOf, value: ValueOf) -> list[Array] | None:
    """Return the outputs of a node that only moves entries, given what it reads; None for any other node.

    ``shape`` and ``value`` say what is known of a tensor: its sizes, and small whole numbers in it.
    """
    if not node.is_standard or not node.outputs:
        return None
    if node.op in SAME_ORDER:
        sizes = shape(node.output)
        fits = sizes is not None and np.prod(sizes, dtype=np.int64) == numbers.size
        return [numbers.reshape(sizes)] if fits else None
    if node.op == "Transpose":
        return [numbers.transpose(node.attr("perm"))]
    if node.op == "Gather":
        indices = value(node.inputs[1])
        return None if indices is None else [numbers.take(indices, _axis(node, numbers.ndim))]
    if node.op == "Slice":
        windows = [window_of(node, numbers.ndim, axis, value) for axis in range(numbers.ndim)]
        cuts = [window[0] for window in windows if window is not None]
        return [numbers[tuple(cuts)]] if len(cuts) == len(windows) else None
    if node.op == "Split":
        axis = _axis(node, numbers.ndim)
        parts = [sizes[axis] for tensor in node.outputs if (sizes := shape(tensor)) is not None]
        return np.split(numbers, np.cumsum(parts)[:-1], axis) if len(parts) == len(node.outputs) else None
    return None


def window_of(node: Node, rank: int, axis: int, value: ValueOf) -> tuple[slice, int] | None:
    """Return what a Slice takes along one axis and where its lists say so; None when that is unknown."""
    names = ("starts", "ends", "axes", "steps")
    given: list[Any]
    if node.attr("starts") is not None:
        given = [node.attr(name) for name in names]
    else:
        tensors = [node.input(index) for index in (1, 2, 3, 4)]
        given = [None if tensor is None else value(tensor) for tensor in tensors]
        if any(tensor is not None and one is None for tensor, one in zip(tensors, given, strict=True)):
            return None
    starts, ends = list(given[0]), list(given[1])
    axes: Sequence[int] = range(len(starts)) if given[2] is None else [int(a) % rank for a in given[2]]
    steps = [1] * len(starts) if given[3] is None else list(given[3])
    for place, at in enumerate(axes):
        if at == axis:
            return _python_slice(int(starts[place]), int(ends[place]), int(steps[place])), place
    return slice(None), -1


def _python_slice(start: int, end: int, step: int) -> slice:
    # ONNX lets a backward slice end below -dim to include entry 0; Python wants None there.
    return slice(start, None if step < 0 and end < -(2**31) + 1 else end, step)


def _axis(node: Node, rank: int) -> int:
    return int(node.attr("axis", 0)) % rank if rank else 0
