"""The end of a detector is recognised though boxes are expected distances and share a Concat with scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime, targets
from graphopt.ir.transform.linear import LAYERS
from graphopt.passes.quant.placement.expectations import is_expectation
from graphopt.passes.quant.placement.placement import TAIL, place
from tests.corpus._net import Net, ints
from tests.passes.quant.small import quantized, snr

BINS, CLASSES, SIZES = 16, 5, (8, 4, 2)
ANCHORS = sum(size * size for size in SIZES)
POSITIONS = np.arange(BINS, dtype=np.float32)


def by_conv(net: Net, x: str) -> str:
    """(n, 4 * bins, anchors) to (n, 4, anchors) as YOLOv8 does."""
    y = net.op("Transpose", net.op("Reshape", x, ints(-1, 4, BINS, ANCHORS)), perm=[0, 2, 1, 3])
    y = net.op("Conv", net.op("Softmax", y, axis=1), POSITIONS.reshape(1, BINS, 1, 1), name="expected")
    return net.op("Reshape", y, ints(-1, 4, ANCHORS))


def by_conv_behind_transposes(net: Net, x: str) -> str:
    """The same with the Softmax over the last axis, as older exporters write it."""
    y = net.op("Transpose", net.op("Reshape", x, ints(-1, 4, BINS, ANCHORS)), perm=[0, 3, 1, 2])
    y = net.op("Transpose", net.op("Softmax", y, axis=-1), perm=[0, 3, 2, 1])
    y = net.op("Conv", y, POSITIONS.reshape(1, BINS, 1, 1), name="expected")
    return net.op("Reshape", y, ints(-1, 4, ANCHORS))


def by_product(net: Net, x: str) -> str:
    y = net.op("Transpose", net.op("Reshape", x, ints(-1, 4, BINS, ANCHORS)), perm=[0, 1, 3, 2])
    y = net.op("MatMul", net.op("Softmax", y, axis=-1), POSITIONS[:, None] ** 1.5, name="expected")
    return net.op("Reshape", y, ints(-1, 4, ANCHORS))


def by_sum(net: Net, x: str) -> str:
    y = net.op("Softmax", net.op("Reshape", x, ints(-1, 4, BINS, ANCHORS)), axis=2)
    y = net.op("Mul", y, POSITIONS[:, None])
    return net.op("ReduceSum", y, ints(2), keepdims=0, name="expected")


FORMS = {form.__name__: form for form in (by_conv, by_conv_behind_transposes, by_product, by_sum)}


def detector(form: Callable[[Net, str], str], seed: int = 5) -> onnx.ModelProto:
    """A twin of YOLOv8 in small: three levels, box and class branches joined, split, and decoded."""
    net = Net(seed)
    x, levels = net.input(shape=(1, 3, 16, 16)), []
    for number, size in enumerate(SIZES):
        x = net.op("Relu", _conv(net, x, 3 if number == 0 else 16, 16, f"down{number}", strides=[2, 2]))
        box = net.op("Relu", _conv(net, x, 16, 16, f"box{number}.first"))
        box = _conv(net, box, 16, 4 * BINS, f"box{number}.last", kernel=1)
        classes = net.op("Relu", _conv(net, x, 16, 16, f"class{number}.first"))
        classes = _conv(net, classes, 16, CLASSES, f"class{number}.last", kernel=1)
        both = net.op("Concat", box, classes, axis=1)
        levels.append(net.op("Reshape", both, ints(-1, 4 * BINS + CLASSES, size * size)))
    every = net.op("Concat", *levels, axis=2)
    boxes, scores = net.many(2, "Split", every, ints(4 * BINS, CLASSES), axis=1)
    distances = form(net, boxes)
    grid = net.rng.uniform(0, 16, (1, 4, ANCHORS)).astype(np.float32)
    boxes = net.op("Mul", net.op("Add", distances, grid), np.full((1, 1, ANCHORS), 2, np.float32))
    return net.model(net.tell(boxes, None), net.tell(net.op("Sigmoid", scores), None))


def _conv(net: Net, x: str, inputs: int, outputs: int, name: str, kernel: int = 3, **attrs: object) -> str:
    """A Conv that keeps the size of what it reads."""
    weight = net.rng.standard_normal((outputs, inputs, kernel, kernel)) / (inputs * kernel**2) ** 0.5
    bias = (net.rng.standard_normal(outputs) / 4).astype(np.float32)
    pads = [kernel // 2] * 4
    return net.op("Conv", x, weight.astype(np.float32), bias, name=name, pads=pads, **attrs)


@pytest.mark.parametrize("form", FORMS)
def test_all_last_convolutions_stay_float_and_the_others_do_not(form: str) -> None:
    model = ir.from_bytes(detector(FORMS[form]).SerializeToString())
    placement = place(model, lambda node: None, targets.load("ort-cpu"))
    ends = {node.name for node, reason in placement.skips if reason == TAIL and node.name != "expected"}
    assert ends == {f"{branch}{level}.last" for branch in ("box", "class") for level in range(3)}
    convs = {node.name for node in placement.layers if node.op in LAYERS}
    rest = {f"{name}{level}" for name in ("down",) for level in range(3)}
    rest |= {f"{branch}{level}.first" for branch in ("box", "class") for level in range(3)}
    assert rest <= convs


@pytest.mark.parametrize("form", FORMS)
def test_both_outputs_are_near_the_float_ones(form: str) -> None:
    proto = detector(FORMS[form])
    made, ctx = quantized(proto)
    before, after = runtime.Session(proto.SerializeToString()), runtime.Session(made)
    for sample in ctx.calibration:
        for name, exact in before.run(sample.feeds).items():
            assert snr(exact, after.run(sample.feeds)[name]) >= 30


def other(kind: str) -> onnx.ModelProto:
    net = Net(3)
    x = net.input(shape=(1, BINS, 4, 8))
    if kind == "several outputs":
        return net.model(net.op("Conv", net.op("Softmax", x, axis=1), net.random(3, BINS, 1, 1), name="end"))
    if kind == "another axis":
        return net.model(net.op("Conv", net.op("Softmax", x, axis=2), net.random(1, BINS, 1, 1), name="end"))
    if kind == "neighbours":
        return net.model(net.op("Conv", net.op("Softmax", x, axis=1), net.random(1, BINS, 3, 3), name="end"))
    values = net.op("Transpose", x, perm=[0, 1, 3, 2])
    return net.model(net.op("MatMul", net.op("Softmax", x, axis=-1), values, name="end"))  # attention


@pytest.mark.parametrize("kind", ["several outputs", "another axis", "neighbours", "attention"])
def test_what_sums_over_a_softmax_otherwise_is_none(kind: str) -> None:
    model = ir.from_bytes(other(kind).SerializeToString())
    (node,) = [node for node in model.graph.nodes if node.name == "end"]
    assert not is_expectation(node)
