"""What reads or writes by indices, and inputs besides the first: ids, masks, other features."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.corpus._net import ints
from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError


@block(odds=2)
def gather_channels(d: Draft, x: Feature) -> Feature:
    """Constant indices along any axis, repeated and negative ones too."""
    axis = int(d.rng.integers(1, x.rank))
    size = x.shape[axis]
    indices = d.rng.integers(-size, size, int(d.pick(1, 2, 4)))
    kind = d.pick(np.int64, np.int32)
    y = d.op("Gather", x.name, indices.astype(kind), axis=axis)
    return Feature(y, (*x.shape[:axis], len(indices), *x.shape[axis + 1 :]))


@block(2, 3, 4)
def argmax_table(d: Draft, x: Feature) -> Feature:
    """The largest along an axis chooses rows of a table."""
    axis = int(d.rng.integers(1, x.rank))
    table = d.weight(x.shape[axis], int(d.pick(2, 4)), fan=1)
    chosen = d.op(d.pick("ArgMax", "ArgMin"), x.name, axis=axis, keepdims=0)
    if d.flip(0.2):
        d.output(chosen, tuple(n for i, n in enumerate(x.shape) if i != axis), np.int64)
    y = d.op("Gather", table, chosen)
    width = int(d.initializers[table].dims[1])
    rest = tuple(n for index, n in enumerate(x.shape) if index != axis)
    return Feature(y, (*rest, width))


@block(2, 3, 4, since=11)
def top_k(d: Draft, x: Feature) -> Feature:
    """The largest values, their indices by GatherElements, or scattered into zeros."""
    axis = int(d.rng.integers(1, x.rank))
    k = int(d.rng.integers(1, x.shape[axis] + 1))
    values, indices = d.many(2, "TopK", x.name, ints(k), axis=axis)
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    form = d.pick("values", "gather", "scatter")
    if form == "values":
        return Feature(values, shape)
    if form == "gather":
        return Feature(d.op("GatherElements", d.op("Tanh", d.like(x).name), indices, axis=axis), shape)
    zeros = d.op("Mul", x.name, d.number(0.0))
    return Feature(d.op("ScatterElements", zeros, indices, values, axis=axis), x.shape)


@block(2, 3, 4, since=11)
def scatter_nd(d: Draft, x: Feature) -> Feature:
    """Rows that are overwritten by constants or by computed ones."""
    if d.dynamic:
        raise UnfitError("needs the batch")
    indices = np.array([[0]], np.int64)
    updates = d.vector(1, *x.shape[1:]) if d.flip() else d.op("Tanh", d.slice(x.name, 0, 0, 1))
    return Feature(d.op("ScatterND", x.name, indices, updates), x.shape)


@block(2, 3, 4, since=12)
def gather_nd(d: Draft, x: Feature) -> Feature:
    """Entries of each sample by constant indices."""
    picks = int(d.pick(1, 2, 3))
    if d.dynamic:
        raise UnfitError("needs the batch")
    indices = d.rng.integers(0, x.shape[1], (x.shape[0], picks, 1)).astype(np.int64)
    return Feature(d.op("GatherND", x.name, indices, batch_dims=1), (x.shape[0], picks, *x.shape[2:]))


@block(2, 3, 4)
def scatter_channels(d: Draft, x: Feature) -> Feature:
    """Channels overwritten one by one."""
    if d.dynamic or x.rank > 3:
        raise UnfitError("needs the batch")
    op = "ScatterElements" if d.opset >= 11 else "Scatter"
    shape = (x.shape[0], 1, *x.shape[2:])
    indices = np.full(shape, int(d.rng.integers(x.shape[1])), np.int64)
    return Feature(d.op(op, x.name, indices, d.vector(*shape), axis=1), x.shape)


@block(odds=1.5)
def ids_input(d: Draft, x: Feature) -> Feature:
    """An input of ids that choose rows of a table, which join the features."""
    if any(port.name == "ids" for port in d.side.ports):
        raise UnfitError("is there already")
    rows = int(d.pick(5, 9))
    ids = d.port("ids", *x.shape[1:-1], kind="ids", high=rows)
    embedded = d.op("Gather", d.weight(rows, x.shape[-1], fan=1), ids)
    return Feature(d.op(d.pick("Add", "Mul"), x.name, embedded), x.shape)


@block(odds=1.5)
def mask_input(d: Draft, x: Feature) -> Feature:
    """A bool input that switches values off, by Where or by Cast and Mul."""
    if any(port.name == "mask" for port in d.side.ports):
        raise UnfitError("is there already")
    row = d.pick(x.shape[1:], (*x.shape[1:-1], 1))
    mask = d.port("mask", *row, kind="mask")
    if d.flip():
        return Feature(d.op("Where", mask, x.name, d.number(0.0)), x.shape)
    kept = d.op("Cast", mask, to=helper.np_dtype_to_tensor_dtype(d.dtype))
    return Feature(d.op("Mul", x.name, kept), x.shape)


@block(odds=1.5)
def second_input(d: Draft, x: Feature) -> Feature:
    """Another float input, of its own shape or of no batch at all."""
    if any(port.name == "other" for port in d.side.ports):
        raise UnfitError("is there already")
    if d.flip(0.3) and x.shape[-1] not in (1, d.batch):  # else it would look like a batch
        other = d.port("other", x.shape[-1], batched=False)
        return Feature(d.op("Add", x.name, other), x.shape)
    other = d.port("other", int(d.pick(3, 5)))
    width = d.side.ports[-1].shape[1]
    y = d.dense(other, width, x.shape[-1])
    if x.rank > 2:
        y = d.unsqueeze(y, *range(1, x.rank - 1))
    return Feature(d.op("Add", x.name, y), x.shape)


@block(2, 3)
def one_hot(d: Draft, x: Feature) -> Feature:
    """The index of the largest as a one-hot row that joins the features."""
    chosen = d.op("ArgMax", x.name, axis=x.rank - 1, keepdims=0)
    values = d.const(np.array([0, 1], d.dtype))
    y = d.op("OneHot", chosen, ints(x.shape[-1]), values)
    return Feature(d.op("Add", y, x.name), x.shape)
