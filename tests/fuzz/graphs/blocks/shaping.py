"""What moves, repeats, cuts and joins; the steps between ranks."""

from __future__ import annotations

import numpy as np

from tests.corpus._net import ints
from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import MOST, Draft, Feature, UnfitError


@block(3, 4, 5)
def flatten(d: Draft, x: Feature) -> Feature:
    """To one row a sample, by Flatten or Reshape."""
    form = d.pick("flatten", "keep", "rest")
    if form == "flatten":
        return Feature(d.op("Flatten", x.name), (x.shape[0], x.row))
    sizes = (0, -1) if form == "keep" or d.dynamic else (x.shape[0], x.row)
    return Feature(d.reshape(x.name, *sizes), (x.shape[0], x.row))


@block(4)
def to_tokens(d: Draft, x: Feature) -> Feature:
    """An image as a sequence of positions."""
    length = x.row // x.shape[1]
    y = d.op("Transpose", d.reshape(x.name, 0, x.shape[1], -1), perm=[0, 2, 1])
    return Feature(y, (x.shape[0], length, x.shape[1]))


@block(2)
def unflatten(d: Draft, x: Feature) -> Feature:
    """A row as an image, a volume or a sequence."""
    side = d.divisor(x.row, 2, 3, 4)
    rest = x.row // side
    second = d.divisor(rest, 1, 2, 3)
    sizes = d.pick(
        (side, rest), (rest, side), (side, second, rest // second), (second, side, rest // second, 1)
    )
    return Feature(d.reshape(x.name, 0, *sizes), (x.shape[0], *sizes))


@block(3, 4, 5)
def regroup(d: Draft, x: Feature) -> Feature:
    """Axes added, dropped or merged by Reshape, Unsqueeze and Squeeze."""
    form = d.pick("merge", "split", "unsqueeze")
    if form == "merge" and x.rank > 3:
        axis = int(d.rng.integers(1, x.rank - 1))
        sizes = (*x.shape[1:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])
        return Feature(d.reshape(x.name, 0, *sizes), (x.shape[0], *sizes))
    axis = int(d.rng.integers(1, x.rank))
    if form == "split" and x.rank < 5:
        part = d.divisor(x.shape[axis], 2, 3, 4)
        sizes = (*x.shape[1:axis], part, x.shape[axis] // part, *x.shape[axis + 1 :])
        return Feature(d.reshape(x.name, 0, *sizes), (x.shape[0], *sizes))
    y = d.op("Relu", d.unsqueeze(x.name, axis))
    return Feature(d.squeeze(y, axis), x.shape)


@block(3, 4, 5, odds=2)
def transpose(d: Draft, x: Feature) -> Feature:
    """Any order of the axes behind the batch."""
    perm = [0, *(1 + d.rng.permutation(x.rank - 1))]
    return Feature(d.op("Transpose", x.name, perm=[int(p) for p in perm]), tuple(x.shape[p] for p in perm))


@block(odds=2)
def concat(d: Draft, x: Feature) -> Feature:
    """With an earlier feature, a changed copy or a constant; along any axis; one Concat inside another."""
    axis = int(d.rng.integers(1, x.rank))
    if x.row > MOST:
        raise UnfitError("too large")
    fitting = [f for f in d.features if f.rank == x.rank and _but(f.shape, axis) == _but(x.shape, axis)]
    other = d.pick(*fitting) if fitting else Feature(d.op("Tanh", x.name), x.shape)
    inner = d.op("Concat", x.name, other.name, axis=axis)
    width = x.shape[axis] + other.shape[axis]
    if d.flip(0.4):
        inner = d.op("Concat", d.op("Neg", x.name), inner, axis=axis)
        width += x.shape[axis]
    if d.flip(0.3) and not d.dynamic:
        part = (*x.shape[:axis], 2, *x.shape[axis + 1 :])
        inner = d.op("Concat", inner, d.vector(*part), axis=axis)
        width += 2
    return Feature(inner, (*x.shape[:axis], width, *x.shape[axis + 1 :]))


def _but(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


@block(odds=2)
def split(d: Draft, x: Feature) -> Feature:
    """Parts that take their own ways and are joined in another order, or of which one is dropped."""
    axis = int(d.rng.integers(1, x.rank))
    size = x.shape[axis]
    if size < 2:
        raise UnfitError("nothing to split")
    first = int(d.rng.integers(1, size))
    a, b = d.split(x.name, axis, first, size - first)
    a = d.op("Sigmoid", a)
    if d.flip(0.3):
        return Feature(a, (*x.shape[:axis], first, *x.shape[axis + 1 :]))
    return Feature(d.op("Concat", b, a, axis=axis), x.shape)


@block()
def cut(d: Draft, x: Feature) -> Feature:
    """A Slice of any axis, forwards, backwards or by steps."""
    axis = int(d.rng.integers(1, x.rank))
    size = x.shape[axis]
    form = d.pick("part", "reverse", "step")
    if form == "reverse":
        return Feature(d.slice(x.name, axis, -1, -(2**31), -1), x.shape)
    start = int(d.rng.integers(0, size))
    step = 2 if form == "step" else 1
    end = int(d.rng.integers(start + 1, size + 1)) if form == "part" else int(d.pick(size, 2**31 - 1))
    kept = len(range(start, min(end, size), step))
    return Feature(d.slice(x.name, axis, start, end, step), (*x.shape[:axis], kept, *x.shape[axis + 1 :]))


@block()
def pad(d: Draft, x: Feature) -> Feature:
    """A Pad of one axis, channels too; or a negative one."""
    axis, wide = int(d.rng.integers(1, x.rank)), int(d.pick(1, 2, -1))
    if x.row > MOST or x.shape[axis] + wide < 1:
        raise UnfitError("does not fit")
    pads = [0] * 2 * x.rank
    pads[axis if d.flip() else x.rank + axis] = wide
    y = d.pad(x.name, pads, "constant", float(d.pick(0.0, 0.5)))
    return Feature(y, (*x.shape[:axis], x.shape[axis] + wide, *x.shape[axis + 1 :]))


@block()
def roll(d: Draft, x: Feature) -> Feature:
    """Two Slices joined the other way round."""
    axis = int(d.rng.integers(1, x.rank))
    if x.shape[axis] < 2:
        raise UnfitError("nothing to roll")
    first, second = d.slice(x.name, axis, 0, 1), d.slice(x.name, axis, 1, x.shape[axis])
    return Feature(d.op("Concat", second, first, axis=axis), x.shape)


@block()
def repeat(d: Draft, x: Feature) -> Feature:
    """Tile along any axis, or Expand of an axis that was reduced."""
    axis = int(d.rng.integers(1, x.rank))
    if d.flip() and x.row <= MOST:
        repeats = [2 if index == axis else 1 for index in range(x.rank)]
        shape = tuple(n * r for n, r in zip(x.shape, repeats, strict=True))
        return Feature(d.op("Tile", x.name, ints(*repeats)), shape)
    mean = d.reduce("ReduceMean", x.name, [axis])
    sizes = ints(*[x.shape[axis] if index == axis else 1 for index in range(x.rank)])
    return Feature(d.op("Add", d.op("Expand", mean, sizes), d.op("Tanh", x.name)), x.shape)


@block()
def empty_parts(d: Draft, x: Feature) -> Feature:
    """A tensor of size zero that is joined, or reduced to nothing."""
    axis = int(d.rng.integers(1, x.rank))
    nothing = d.slice(x.name, axis, 0, 0)
    if d.flip(0.3) and not d.dynamic:
        nothing = d.const(np.zeros((*x.shape[:axis], 0, *x.shape[axis + 1 :]), d.dtype))
    return Feature(d.op("Concat", nothing, x.name, axis=axis), x.shape)


@block(4)
def blocks_and_depth(d: Draft, x: Feature) -> Feature:
    """DepthToSpace, SpaceToDepth, or a channel shuffle."""
    n, c, h, w = x.shape
    form = d.pick("depth", "space", "shuffle")
    if form == "depth" and c % 4 == 0:
        attrs = {"mode": d.pick("DCR", "CRD")} if d.opset >= 11 else {}
        return Feature(d.op("DepthToSpace", x.name, blocksize=2, **attrs), (n, c // 4, 2 * h, 2 * w))
    if form == "space" and h % 2 == 0 and w % 2 == 0:
        return Feature(d.op("SpaceToDepth", x.name, blocksize=2), (n, 4 * c, h // 2, w // 2))
    group = d.divisor(c, 2, 3, 4)
    y = d.op("Transpose", d.reshape(x.name, 0, group, c // group, h, w), perm=[0, 2, 1, 3, 4])
    return Feature(d.reshape(y, 0, c, h, w), x.shape)


@block(3, 4, 5)
def resize(d: Draft, x: Feature) -> Feature:
    """Resize by scales or sizes in several modes, Upsample in the opsets that have it."""
    if x.row * 2 ** (x.rank - 2) > MOST * 4:
        raise UnfitError("too large")
    scales = np.array([1.0, 1.0, *[2.0] * (x.rank - 2)], np.float32)
    shape = (*x.shape[:2], *[2 * n for n in x.shape[2:]])
    mode = d.pick("nearest", "nearest", "linear", "cubic" if x.rank == 4 and d.opset >= 11 else "nearest")
    if d.opset < 10:
        return Feature(d.op("Upsample", x.name, scales, mode="nearest"), shape)
    if d.opset == 10:
        return Feature(d.op("Resize", x.name, scales, mode="nearest"), shape)
    attrs = {
        "mode": mode,
        "coordinate_transformation_mode": d.pick("half_pixel", "asymmetric", "align_corners"),
    }
    if mode == "nearest":
        attrs["nearest_mode"] = d.pick("floor", "round_prefer_floor")
    if d.flip() or d.dynamic:
        return Feature(
            d.op(
                "Resize", x.name, None if d.opset >= 13 else d.const(np.zeros(0, np.float32)), scales, **attrs
            ),
            shape,
        )
    empty = d.const(np.zeros(0, np.float32))
    return Feature(
        d.op("Resize", x.name, empty, None if d.opset >= 13 else empty, ints(*shape), **attrs), shape
    )


@block(since=14)
def triangle(d: Draft, x: Feature) -> Feature:
    """Trilu or CumSum on the last axes."""
    if x.rank > 2 and d.flip():
        return Feature(d.op("Trilu", x.name, upper=int(d.flip())), x.shape)
    return Feature(d.op("CumSum", x.name, np.array(int(d.rng.integers(1, x.rank)), np.int64)), x.shape)


@block(3, 4)
def windows(d: Draft, x: Feature) -> Feature:
    """Windows moved into the batch and back."""
    axis = x.rank - 2
    if x.shape[axis] % 2:
        raise UnfitError("no even number of positions")
    half = x.shape[axis] // 2
    sizes = (*x.shape[1:axis], 2, half, x.shape[-1])
    y = d.reshape(x.name, 0, *sizes)
    place = len(sizes) - 2
    perm = [0, place, *(index for index in range(1, len(sizes) + 1) if index != place)]
    y = d.reshape(d.op("Transpose", y, perm=perm), -1, *x.shape[1:axis], half, x.shape[-1])
    y = d.op("Relu", d.dense(y, x.shape[-1], x.shape[-1]))
    y = d.reshape(y, -1, 2, *x.shape[1:axis], half, x.shape[-1])
    back = [perm.index(index) for index in range(len(perm))]
    return Feature(d.reshape(d.op("Transpose", y, perm=back), -1, *x.shape[1:]), x.shape)
