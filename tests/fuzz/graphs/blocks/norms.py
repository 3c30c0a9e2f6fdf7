"""Normalisations over any axis, as operators and written out; scales may be computed."""

from __future__ import annotations

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError


@block(2, 3, 4, 5, odds=2)
def batch_norm(d: Draft, x: Feature) -> Feature:
    """Statistics that are constants."""
    width = x.shape[1]
    parameters = [
        d.vector(width, middle=1.0),
        d.vector(width),
        d.vector(width),
        d.const(d.rng.uniform(0.5, 2.0, width).astype(d.dtype)),
    ]
    attrs = {"epsilon": 1e-3} if d.flip() else {}
    return Feature(d.op("BatchNormalization", x.name, *parameters, **attrs), x.shape)


@block(3, 4, 5)
def batch_norm_written_out(d: Draft, x: Feature) -> Feature:
    """Sub, Div, Mul and Add with one number for each channel."""
    per_channel = (x.shape[1], *[1] * (x.rank - 2))
    y = d.op("Sub", x.name, d.vector(*per_channel))
    y = d.op(d.pick("Div", "Mul"), y, d.const(d.rng.uniform(0.5, 2.0, per_channel).astype(d.dtype)))
    return Feature(
        d.op("Add", d.op("Mul", y, d.vector(*per_channel, middle=1.0)), d.vector(1, *per_channel)), x.shape
    )


@block(3, 4, 5)
def instance_norm(d: Draft, x: Feature) -> Feature:
    """One mean and deviation for each channel of each sample."""
    width = x.shape[1]
    if x.row // width < 4:
        raise UnfitError("one value has no deviation")
    return Feature(
        d.op("InstanceNormalization", x.name, d.vector(width, middle=1.0), d.vector(width)), x.shape
    )


@block(3, 4)
def group_norm(d: Draft, x: Feature) -> Feature:
    """The operator where the opset has it, else InstanceNormalization between Reshapes."""
    width = x.shape[1]
    group = d.divisor(width, 1, 2, 4)
    if x.row // group < 4:
        raise UnfitError("one value has no deviation")
    if d.opset >= 18 and d.flip():
        size = width if d.opset >= 21 else group
        y = d.op("GroupNormalization", x.name, d.vector(size, middle=1.0), d.vector(size), num_groups=group)
        return Feature(y, x.shape)
    flat = d.reshape(x.name, 0, group, -1)
    y = d.op("InstanceNormalization", flat, d.number(1.0, group), d.number(0.0, group))
    y = d.reshape(y, 0, *x.shape[1:])
    per_channel = (width, *[1] * (x.rank - 2))
    return Feature(
        d.op("Add", d.op("Mul", y, d.vector(*per_channel, middle=1.0)), d.vector(*per_channel)), x.shape
    )


@block(since=17, odds=2)
def layer_norm(d: Draft, x: Feature) -> Feature:
    """The operator over the last axes, with a bias or without."""
    axis = int(d.rng.integers(1, x.rank))
    shape = x.shape[axis:]
    if _size(shape) < 3:
        raise UnfitError("too few values")
    bias = [d.vector(*shape)] if d.flip(0.7) else []
    axis = axis if d.flip() else axis - x.rank
    return Feature(
        d.op("LayerNormalization", x.name, d.vector(*shape, middle=1.0), *bias, axis=axis), x.shape
    )


@block(odds=2)
def layer_norm_written_out(d: Draft, x: Feature) -> Feature:
    """ReduceMean, Sub, Pow, ReduceMean, Sqrt, Div, Mul, Add over any axis."""
    axis = int(d.rng.integers(1, x.rank))
    if x.shape[axis] < 3:
        raise UnfitError("too few values")
    centred = d.op("Sub", x.name, d.reduce("ReduceMean", x.name, [axis]))
    square = d.op("Pow", centred, d.number(2.0)) if d.flip() else d.op("Mul", centred, centred)
    deviation = d.op("Sqrt", d.op("Add", d.reduce("ReduceMean", square, [axis]), d.number(1e-3)))
    y = d.op("Div", centred, deviation)
    shape = (x.shape[axis], *[1] * (x.rank - axis - 1))
    return Feature(d.op("Add", d.op("Mul", y, d.vector(*shape, middle=1.0)), d.vector(*shape)), x.shape)


@block(odds=2)
def rms_norm(d: Draft, x: Feature) -> Feature:
    """The operator of opset 23 or its parts, over any axis."""
    axis = int(d.rng.integers(1, x.rank))
    if d.opset >= 23 and d.flip():
        shape = x.shape[axis:]
        return Feature(d.op("RMSNormalization", x.name, d.vector(*shape, middle=1.0), axis=axis), x.shape)
    mean = d.reduce("ReduceMean", d.op("Mul", x.name, x.name), [axis])
    deviation = d.op("Sqrt", d.op("Add", mean, d.number(1e-3)))
    y = d.op("Div", x.name, deviation) if d.flip() else d.op("Mul", x.name, d.op("Reciprocal", deviation))
    return Feature(d.op("Mul", d.vector(x.shape[axis], *[1] * (x.rank - axis - 1), middle=1.0), y), x.shape)


@block(2, 3, since=17)
def computed_scale(d: Draft, x: Feature) -> Feature:
    """A normalisation whose scale or bias is what a layer computes."""
    width = x.shape[-1]
    if width < 3:
        raise UnfitError("too few values")
    row = d.reduce("ReduceMean", x.name, list(range(x.rank - 1)), keepdims=False)
    scale = d.op("Add", d.op("MatMul", row, d.weight(width, width, fan=width)), d.number(1.0))
    operands = (scale, d.vector(width)) if d.flip() else (d.vector(width, middle=1.0), scale)
    source = d.like(x).name
    return Feature(d.op("LayerNormalization", source, *operands, axis=-1), x.shape)


@block()
def unit_length(d: Draft, x: Feature) -> Feature:
    """Division by the L1 or L2 norm along an axis."""
    axis = int(d.rng.integers(1, x.rank))
    if d.flip():
        shifted = d.op("Add", x.name, d.number(0.1))
        return Feature(d.op("LpNormalization", shifted, axis=axis, p=int(d.pick(1, 2))), x.shape)
    length = d.reduce(d.pick("ReduceL2", "ReduceL1"), x.name, [axis])
    return Feature(d.op("Div", x.name, d.op("Add", length, d.number(0.1))), x.shape)


@block()
def softmax(d: Draft, x: Feature) -> Feature:
    """Softmax, LogSoftmax or Hardmax-free scores along any axis."""
    axis = int(d.rng.integers(1, x.rank))
    return Feature(d.softmax(x.name, x.rank, axis, d.pick("Softmax", "Softmax", "LogSoftmax")), x.shape)


@block(4)
def local_response(d: Draft, x: Feature) -> Feature:
    """LRN, or MeanVarianceNormalization over chosen axes."""
    if d.flip() and x.row >= 8:
        return Feature(
            d.op("MeanVarianceNormalization", x.name, axes=d.pick([0, 2, 3], [2, 3], [1, 2, 3])), x.shape
        )
    return Feature(d.op("LRN", x.name, size=3, alpha=0.01), x.shape)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for number in shape:
        size *= number
    return size
