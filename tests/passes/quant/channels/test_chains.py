"""Where the channels of a layer are read: through flattening and joining, and never along another axis."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime
from graphopt.passes.quant.channels.chains import chains, known_shapes
from graphopt.passes.quant.channels.equalisation import by_weights, equalise
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import quantized


def flattened_and_joined() -> onnx.ModelProto:
    """Two convolutions, each flattened, joined, and read by one Gemm."""
    net = Net(1)
    x = net.input(shape=(1, 3, 4, 4))
    one, two = net.conv(x, (2, 3, 1, 1), bias=True, name="one"), net.conv(x, (3, 3, 1, 1), name="two")
    both = [net.op("Flatten", net.op("Relu", y)) for y in (one, two)]
    return net.model(net.gemm(net.op("Concat", *both, axis=1), (80, 5)))


def joined_then_flattened() -> onnx.ModelProto:
    net = Net(2)
    x = net.input(shape=(1, 3, 4, 4))
    one, two = net.conv(x, (2, 3, 1, 1), name="one"), net.conv(x, (3, 3, 1, 1), bias=True, name="two")
    inner = net.op("Concat", one, two, axis=1)
    both = net.op("Concat", net.op("Identity", x), inner, axis=1)
    return net.model(net.gemm(net.op("Flatten", both), (128, 5)))


def product_over_width() -> onnx.ModelProto:
    """A MatMul whose seven rows are the width of the image, not its sixteen channels."""
    net = Net(3)
    x = net.op("Relu", net.conv(net.input(shape=(1, 3, 7, 7)), (16, 3, 1, 1), name="one"))
    return net.model(net.op("MatMul", x, net.random(7, 7)))


def product_over_equal_width() -> onnx.ModelProto:
    """The same with as many channels as columns: nothing crashes, and the function would change."""
    net = Net(4)
    x = net.op("Relu", net.conv(net.input(shape=(1, 3, 7, 7)), (7, 3, 1, 1), name="one"))
    return net.model(net.op("MatMul", x, net.random(7, 7)))


def product_of_rows() -> onnx.ModelProto:
    """Gemm and MatMul on matrices: there the channels are what a MatMul sums over."""
    net = Net(5)
    x = net.op("Relu", net.gemm(net.input(shape=(2, 6)), (6, 8), bias=(8,), name="one"))
    return net.model(net.op("MatMul", x, net.random(8, 3)))


BUILDS = {
    flattened_and_joined: {"one", "two"},
    joined_then_flattened: {"one", "two"},
    product_over_width: set(),
    product_over_equal_width: set(),
    product_of_rows: {"one"},
}


@pytest.mark.parametrize("build", BUILDS)
def test_rescaled_channels_keep_the_function(build) -> None:
    model = ir.from_bytes(build().SerializeToString())
    ctx = Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 2, 0)))
    shapes = known_shapes(model, ctx)
    assert {chain.source.name for chain in chains(model.graph, shapes)} == BUILDS[build]
    items = by_weights(model.copy(), shapes)
    before = runtime.Session(model.to_bytes())
    equalise(model.graph, items, shapes)
    assert bool(items) == bool(BUILDS[build])
    for sample in ctx.calibration:
        old, new = (next(iter(s.run(sample.feeds).values())) for s in (before, runtime.Session(model)))
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5 * np.abs(old).max())


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("mode", ["auto", "weights", "activations"])
def test_every_way_to_equalise_runs(build, mode: str) -> None:
    quantized(build(), equalise=mode, absorb=True)
