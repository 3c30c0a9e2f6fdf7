"""Operators that only move values, written with Reshape, Transpose, Expand, Gather and constant matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.ir import Node, Tensor

from ..graph.builder import Builder
from .single import run_alone

NEAREST = "nearest"


def depth_to_space(node: Node, to: Builder) -> Tensor:
    """Blocks of channels become blocks of pixels."""
    batch, channels, height, width = to.shape(node.inputs[0])
    b = int(node.attr("blocksize"))
    depth = channels // (b * b)
    if node.attr("mode", "DCR") == "DCR":
        split = to.reshape(node.inputs[0], batch, b, b, depth, height, width)
        turned = to.transpose(split, 0, 3, 4, 1, 5, 2)
    else:
        split = to.reshape(node.inputs[0], batch, depth, b, b, height, width)
        turned = to.transpose(split, 0, 1, 4, 2, 5, 3)
    return to.reshape(turned, batch, depth, height * b, width * b)


def space_to_depth(node: Node, to: Builder) -> Tensor:
    """Blocks of pixels become blocks of channels."""
    batch, channels, height, width = to.shape(node.inputs[0])
    b = int(node.attr("blocksize"))
    split = to.reshape(node.inputs[0], batch, channels, height // b, b, width // b, b)
    turned = to.transpose(split, 0, 3, 5, 1, 2, 4)
    return to.reshape(turned, batch, channels * b * b, height // b, width // b)


def pad(node: Node, to: Builder) -> Tensor | None:
    """Reflected and repeated borders by picking rows, then columns; None for constant borders."""
    mode = node.attr("mode", "constant")
    if mode == "constant":
        return None
    shape = to.shape(node.inputs[0])
    pads = _numbers(node.inputs[1])
    axes_tensor = node.input(3)
    axes = range(len(shape)) if axes_tensor is None else _numbers(axes_tensor)
    result = node.inputs[0]
    count = len(pads) // 2
    for place, axis in enumerate(axes):
        before, after = pads[place], pads[place + count]
        if before or after:
            axis %= len(shape)
            rows = np.pad(np.arange(shape[axis]), (before, after), mode=mode)
            result = to.op("Gather", result, to.ints(rows.tolist()), axis=axis)
    return result


def _numbers(tensor: Tensor) -> list[int]:
    """The whole numbers of a constant list; sizes are constants after preparing."""
    values = tensor.constant
    assert values is not None
    return [int(value) for value in values.ravel()]


def resize(node: Node, to: Builder) -> Tensor:
    """Nearest by whole factors: repeat; everything else: one constant matrix for each axis.

    A resize is linear and separable, so resizing an identity matrix gives the matrix of an axis, for every
    mode and every way of counting coordinates.
    """
    before, after = to.shape(node.inputs[0]), to.shape(node.output)
    factors = [new / old for old, new in zip(before, after, strict=True)]
    if _repeats(node, factors):
        return _repeated(node.inputs[0], before, [int(factor) for factor in factors], to)
    result = node.inputs[0]
    for axis in range(len(before)):
        if before[axis] != after[axis]:
            matrix = _axis_matrix(node, to, axis)
            result = _along(result, axis, len(before), matrix, to)
    return result


def _repeats(node: Node, factors: Sequence[float]) -> bool:
    if node.op not in ("Resize", "Upsample") or node.attr("mode", NEAREST) != NEAREST:
        return False
    if any(factor < 1 or factor != int(factor) for factor in factors):
        return False
    coordinates = node.attr("coordinate_transformation_mode", "half_pixel")
    rounding = node.attr("nearest_mode", "round_prefer_floor")
    return node.op == "Upsample" or (coordinates, rounding) in (
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    )


def _repeated(x: Tensor, before: Sequence[int], factors: Sequence[int], to: Builder) -> Tensor:
    split = [part for size in before for part in (size, 1)]
    wide = [part for size, factor in zip(before, factors, strict=True) for part in (size, factor)]
    spread = to.op("Expand", to.reshape(x, *split), to.ints(wide))
    return to.reshape(spread, *(size * factor for size, factor in zip(before, factors, strict=True)))


def _axis_matrix(node: Node, to: Builder, axis: int) -> np.ndarray:
    """(new, old): what the node makes of unit vectors along one axis, a unit vector to a channel."""
    before, after = to.shape(node.inputs[0]), to.shape(node.output)
    old = before[axis]
    shape = (1, old, *before[2:])
    units = np.zeros(shape, np.float32)
    ones = tuple(old if i == axis else 1 for i in range(2, len(before)))
    units += np.eye(old, dtype=np.float32).reshape(1, old, *ones)
    made = run_alone(node, units, _for_units(node, old, after))
    columns = np.moveaxis(made[0], axis - 1, 1).reshape(old, after[axis], -1)[:, :, 0]
    return np.ascontiguousarray(columns.T)


def _for_units(node: Node, channels: int, after: Sequence[int]) -> dict[int, np.ndarray]:
    """Sizes that are written for all axes hold those of batch and channels, which differ here."""
    sizes = node.input(3) if node.op == "Resize" else None
    if sizes is None or len(_numbers(sizes)) != len(after):
        return {}
    return {3: np.asarray([1, channels, *after[2:]], np.int64)}


def _along(x: Tensor, axis: int, ndim: int, matrix: np.ndarray, to: Builder) -> Tensor:
    """Multiply the vectors along ``axis`` by a matrix (new, old)."""
    if axis == ndim - 1:
        return to.op("MatMul", x, matrix.T)
    if axis == ndim - 2:
        return to.op("MatMul", matrix, x)
    order = [i for i in range(ndim) if i != axis] + [axis]
    back = np.argsort(order).tolist()
    return to.transpose(to.op("MatMul", to.transpose(x, *order), matrix.T), *back)


MOVES = {
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
}
