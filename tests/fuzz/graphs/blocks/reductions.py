"""Reductions of every kind, and integer outputs."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError

OPS = (
    "ReduceMean",
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
)


@block(odds=2)
def reduce(d: Draft, x: Feature) -> Feature:
    """Any operator over any axes behind the batch, axes kept."""
    count = int(d.rng.integers(1, x.rank))
    axes = sorted(int(axis) for axis in 1 + d.rng.permutation(x.rank - 1)[:count])
    op = d.pick(*OPS, "ReduceLogSumExp", "ReduceProd")
    given = [axis - x.rank if d.flip(0.3) and d.opset >= 11 else axis for axis in axes]
    y = d.op("Mul", d.reduce(op, x.name, given), d.number(0.5))
    return Feature(y, tuple(1 if index in axes else n for index, n in enumerate(x.shape)))


@block(3, 4, 5, odds=2)
def reduce_away(d: Draft, x: Feature) -> Feature:
    """Axes that are gone: a global pool, or a reduction of channels or positions."""
    if x.rank > 3 and d.flip():
        y = d.op(d.pick("GlobalAveragePool", "GlobalMaxPool"), x.name)
        return Feature(d.op("Flatten", y), x.shape[:2])
    axis = int(d.rng.integers(1, x.rank))
    y = d.op("Mul", d.reduce(d.pick(*OPS), x.name, [axis], keepdims=False), d.number(0.5))
    return Feature(y, tuple(n for index, n in enumerate(x.shape) if index != axis))


@block()
def centre(d: Draft, x: Feature) -> Feature:
    """What is left without the mean over chosen axes."""
    axes = sorted(int(axis) for axis in 1 + d.rng.permutation(x.rank - 1)[: int(d.rng.integers(1, x.rank))])
    return Feature(d.op("Sub", x.name, d.reduce("ReduceMean", x.name, axes)), x.shape)


@block(odds=1.5)
def integer_output(d: Draft, x: Feature) -> Feature:
    """An output of whole numbers: the largest, the sign, the shape, or a count."""
    form = d.pick("argmax", "cast", "shape", "bool")
    if form == "argmax":
        axis = int(d.rng.integers(1, x.rank))
        kept = tuple(1 if index == axis else n for index, n in enumerate(x.shape))
        d.output(d.op("ArgMax", x.name, axis=axis), kept, np.int64)
    elif form == "cast":
        y = d.op("Cast", d.op("Mul", x.name, d.number(4.0)), to=TensorProto.INT32)
        d.output(y, x.shape, np.int32)
    elif form == "shape":
        d.output(d.op("Shape", x.name), (x.rank,), np.int64)
    else:
        d.output(d.op("Less", x.name, d.vector(x.shape[-1])), x.shape, bool)
    return Feature(d.op("Relu", x.name), x.shape)


@block()
def inner_output(d: Draft, x: Feature) -> Feature:
    """An output that is also read inside."""
    d.output(x.name, x.shape)
    return Feature(d.op("Tanh", x.name), x.shape)


@block()
def constant_output(d: Draft, x: Feature) -> Feature:
    """An output that is an initializer or a copy of it; constants that are worked on."""
    name = d.vector(3)
    form = d.pick("identity", "computed", "itself")
    if form == "identity":
        name = d.op("Identity", name)
    if form == "computed":
        name = d.op("Add", name, d.vector(3))
    d.output(name, (3,))
    if len(d.side.outputs) > 3:
        raise UnfitError("enough outputs")
    return Feature(d.op("Identity", x.name), x.shape)


@block(2, 3, 4)
def cast_there_and_back(d: Draft, x: Feature) -> Feature:
    """Casts to another float type and back, or through whole numbers."""
    own = helper.np_dtype_to_tensor_dtype(d.dtype)
    other = d.pick(TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT32, own)
    scaled = d.op("Mul", x.name, d.number(8.0))
    y = d.op("Cast", d.op("Cast", scaled, to=other), to=own)
    return Feature(d.op("Mul", y, d.number(0.125)), x.shape)
