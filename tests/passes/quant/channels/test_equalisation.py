"""Equalising never changes what the float network computes, and ends where a factor could not pass."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir, runtime
from graphopt.passes.quant.channels.equalisation import by_activations, by_weights, chains, equalise
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv


def context(model: ir.Model) -> Context:
    return Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 6, 0)))


MIDDLES = {
    "relu": lambda net, x: net.op("Relu", x),
    "leaky": lambda net, x: net.op("LeakyRelu", x, alpha=0.1),
    "pool": lambda net, x: net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2]),
    "average": lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 2]),
    "depthwise": lambda net, x: net.op("Relu", net.conv(net.op("Relu", x), (8, 1, 3, 3), group=8, name="dw")),
    "multiplier": lambda net, x: net.op("Relu", net.conv(x, (16, 1, 3, 3), group=8, name="dw")),
    "concat": lambda net, x: net.op(
        "Concat", net.op("Relu", x), net.op("MaxPool", x, kernel_shape=[1, 1]), axis=1
    ),
}
WIDTHS = {"multiplier": 16, "concat": 16}


@pytest.mark.parametrize("name", MIDDLES)
@pytest.mark.parametrize("mode", ["activations", "weights"])
def test_the_float_function_stays(name: str, mode: str) -> None:
    net = Net(3)
    middle = MIDDLES[name](net, first_conv(net))
    proto = between_convs(net, middle, out=WIDTHS.get(name, 8))
    model = ir.from_bytes(proto.SerializeToString())
    ctx, before = context(model), runtime.Session(model.to_bytes())
    shapes = ir.infer_shapes(model, dict(ctx.shapes))
    items = by_activations(model, shapes, ctx) if mode == "activations" else by_weights(model.copy(), shapes)
    assert items
    assert max(max(item.factors) for item in items) > 1.01
    equalise(model.graph, items, shapes)
    after = runtime.Session(model)
    for sample in ctx.calibration:
        for one, two in zip(before.run(sample.feeds).values(), after.run(sample.feeds).values(), strict=True):
            np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-6)


def test_activations_become_more_alike() -> None:
    net = Net(3)
    model = ir.from_bytes(between_convs(net, net.op("Relu", first_conv(net))).SerializeToString())
    ctx = context(model)
    shapes = ir.infer_shapes(model, dict(ctx.shapes))
    first, *_ = by_activations(model, shapes, ctx)
    equalise(model.graph, [first], shapes)
    (again, *_) = by_activations(model, shapes, ctx)
    assert max(again.factors) == pytest.approx(max(first.factors) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("wall", ["clip", "add", "output", "sigmoid", "shared"])
def test_factors_do_not_pass_walls(wall: str) -> None:
    net = Net(3)
    x = first_conv(net)
    if wall == "clip":
        x = net.op("Clip", x, net.array(0.0), net.array(6.0))
    elif wall == "add":
        x = net.op("Add", x, net.op("Relu", x))
    elif wall == "sigmoid":
        x = net.op("Sigmoid", x)
    elif wall == "shared":
        w = net.random(8, 8, 1, 1)
        x = net.op("Add", net.op("Conv", x, w), net.op("Conv", x, w))
    model = ir.from_bytes(between_convs(net, x).SerializeToString())
    if wall == "output":
        conv = next(model.graph.find("Conv"))
        conv.output.dtype = np.dtype(np.float32)
        model.graph.outputs.append(conv.output)
    found = [chain.source.name for chain in chains(model.graph, ir.infer_shapes(model, {}))]
    assert "first" not in found


@pytest.mark.parametrize("size", [1.0, 1e-9])
def test_weights_of_any_size_are_given_equal_channels(size: float) -> None:
    """What counts as a dead channel depends on the others, not on the unit of the weights."""
    net = Net(6)
    x = net.op("Relu", net.conv(net.input(), (4, 3, 1, 1), name="made"))
    model = ir.from_bytes(net.model(net.conv(x, (4, 4, 1, 1), name="read")).SerializeToString())
    made, read = model.graph.find("Conv")
    channels = np.array([1.0, 0.1, 0.02, 0.0], np.float32)[:, None, None, None]  # the last is dead
    model.graph.set_constant(made, 1, (np.abs(made.inputs[1].constant) * channels * size).astype(np.float32))
    model.graph.set_constant(read, 1, (np.ones_like(read.inputs[1].constant) * size).astype(np.float32))
    (item,) = by_weights(model, {"x": (1, 3, 8, 8)})
    first, second, third, dead = item.factors
    assert first < second < third
    assert dead == 1.0
