"""If, Loop and Scan whose bodies read outer tensors, and recurrent layers."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError


def _body(d: Draft) -> Draft:
    """A body that sees the tensors of its graph and draws from the same names and numbers."""
    inner = Draft(0, opset=d.opset, dtype=d.dtype, batch=d.batch, dynamic=d.dynamic)
    inner.rng, inner.counter = d.rng, d.counter
    return inner


def _layer(d: Draft, x: str, width: int) -> str:
    """A small layer with constants of the graph it stands in."""
    return d.op(d.pick("Relu", "Tanh"), d.dense(x, width, width))


@block(odds=1.5)
def if_branch(d: Draft, x: Feature) -> Feature:
    """Branches with layers of their own, by a constant or by the data."""
    if d.flip():
        condition = d.const(np.array(bool(d.flip())))
    else:
        mean = d.reduce("ReduceMean", x.name, list(range(x.rank)), keepdims=False)
        condition = d.op("Greater", mean, d.number(0.0))
    outer = d.vector(x.shape[-1])
    yes, no = _body(d), _body(d)
    width = x.shape[-1]
    then = yes.graph(_layer(yes, x.name, width), name="then")
    other = no.graph(no.op("Add", x.name, outer), name="else")
    return Feature(d.op("If", condition, then_branch=then, else_branch=other), x.shape)


@block(2, 3, 4)
def loop(d: Draft, x: Feature) -> Feature:
    """A state that goes through a layer a few times; the body reads a feature and a constant from outside."""
    inner, width = _body(d), x.shape[-1]
    weight = d.weight(width, width, fan=width)
    inner.input("turn", [], np.int64)
    inner.input("go_in", [], bool)
    inner.input("state", None)
    y = inner.op("MatMul", "state", weight)
    y = inner.op("Tanh", inner.op("Add", y, x.name))
    go = inner.op("Identity", "go_in")
    inner.tell(go, [], bool)
    inner.tell(y, None)
    body = inner.graph(go, y, name="loop")
    first = d.op("Tanh", d.like(x).name)
    return Feature(
        d.op("Loop", np.array(int(d.pick(1, 2, 3)), np.int64), np.array(True), first, body=body), x.shape
    )


@block(3)
def scan(d: Draft, x: Feature) -> Feature:
    """A running sum over positions, through a layer."""
    inner, width = _body(d), x.shape[-1]
    outer = d.vector(width)
    inner.input("sum_in", None)
    inner.input("row", None)
    total = inner.op("Add", "sum_in", inner.op("Mul", "row", outer))
    row = _layer(inner, total, width)
    inner.tell(total, None)
    inner.tell(row, None)
    body = inner.graph(total, row, name="scan")
    start = d.reduce("ReduceMean", x.name, [1], keepdims=False)
    _, rows = d.many(
        2, "Scan", start, x.name, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]
    )
    return Feature(rows, x.shape)


@block(3)
def recurrent(d: Draft, x: Feature) -> Feature:
    """LSTM, GRU or RNN, one way or both, over the positions."""
    op = d.pick("LSTM", "GRU", "RNN")
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    both, hidden = d.flip(0.3), int(d.pick(2, 4))
    ways, width = 2 if both else 1, x.shape[-1]
    turned = d.op("Transpose", x.name, perm=[1, 0, 2])
    attrs = {"hidden_size": hidden, "direction": "bidirectional" if both else "forward"}
    weights = [
        d.weight(ways, gates * hidden, width, fan=width),
        d.weight(ways, gates * hidden, hidden, fan=hidden),
        *([d.vector(ways, 2 * gates * hidden)] if d.flip(0.7) else []),
    ]
    y = d.op(op, turned, *weights, **attrs)
    y = d.op("Transpose", y, perm=[2, 0, 1, 3])
    return Feature(d.reshape(y, 0, x.shape[1], ways * hidden), (x.shape[0], x.shape[1], ways * hidden))


@block(2, 3, 4, since=11)
def sequence(d: Draft, x: Feature) -> Feature:
    """Tensors put into a sequence and taken out."""
    made = d.op("SequenceConstruct", x.name, d.op("Relu", x.name))
    if d.flip():
        return Feature(d.op("SequenceAt", made, np.array(int(d.pick(0, 1)), np.int64)), x.shape)
    axis = int(d.rng.integers(1, x.rank))
    y = d.op("ConcatFromSequence", made, axis=axis)
    return Feature(y, (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :]))


@block(2, 3)
def constant_nodes(d: Draft, x: Feature) -> Feature:
    """ConstantOfShape, Range, EyeLike and Shape arithmetic that make constants while running."""
    width = x.shape[-1]
    form = d.pick("fill", "range", "eye")
    kind = helper.np_dtype_to_tensor_dtype(d.dtype)
    if form == "fill":
        shape = d.op("Shape", x.name)
        y = d.op("ConstantOfShape", shape, value=np.array([0.25], d.dtype))
        return Feature(d.op("Add", x.name, y), x.shape)
    if form == "range" and d.opset >= 11:
        numbers = d.op("Range", *(np.array(n, np.int64) for n in (0, width, 1)))
        return Feature(d.op("Add", x.name, d.op("Cast", numbers, to=kind)), x.shape)
    if d.dtype == np.float16:
        raise UnfitError("EyeLike has no float16 here")
    eye = d.op("EyeLike", d.weight(width, width, fan=1), dtype=TensorProto.FLOAT)
    return Feature(d.op("MatMul", x.name, d.op("Cast", eye, to=kind)), x.shape)
