"""Absorbing never changes what the float network computes, and narrows what has to be stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.errors import PassError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.channels.absorption import absorb, by_ranges
from graphopt.passes.quant.channels.chains import known_shapes
from graphopt.passes.quant.items import AbsorbItem
from graphopt.passes.quant.plan_reading import from_plan
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, SAMPLES, between_convs, first_conv, quantized


def shifted(model: ir.Model, amounts: np.ndarray) -> ir.Model:
    """The model with amounts added to the first convolution's bias."""
    conv = next(model.graph.find("Conv"))
    assert conv.inputs[2].constant is not None
    model.graph.set_constant(conv, 2, conv.inputs[2].constant + amounts.astype(np.float32))
    return model


AMOUNTS = np.array([0.0, 40.0, 80.0, 120.0, 40.0, 60.0, 20.0, 160.0])  # far above what the weights add


def middle(net: Net, name: str, x: str) -> str:
    """What stands between two convolutions."""
    if name == "nothing":
        return net.op("Identity", x)
    if name == "relu":
        return net.op("Relu", x)
    if name == "pools":
        pooled = net.op("MaxPool", net.op("Relu", x), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        return net.op("AveragePool", pooled, kernel_shape=[2, 2])
    if name == "depthwise":
        return net.conv(net.op("Relu", x), (16, 1, 3, 3), group=8, bias=True, name="dw")
    if name == "without bias":
        return net.op("Relu", net.conv(x, (8, 8, 1, 1), name="plain"))
    if name == "concat":
        return net.op("Concat", net.op("Relu", x), net.op("Identity", x), axis=1)
    raise ValueError(name)


WIDTHS = {"depthwise": 16, "concat": 16}
MIDDLES = ["nothing", "relu", "pools", "depthwise", "without bias", "concat"]


def model_of(name: str) -> ir.Model:
    net = Net(3)
    proto = between_convs(net, middle(net, name, first_conv(net)), out=WIDTHS.get(name, 8))
    return shifted(ir.from_bytes(proto.SerializeToString()), AMOUNTS)


def context(model: ir.Model) -> Context:
    return Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 6, 0)))


def items_of(model: ir.Model, ctx: Context) -> list[AbsorbItem]:
    return by_ranges(model, known_shapes(model, ctx), ctx.calibration, ctx)


@pytest.mark.parametrize("name", MIDDLES)
def test_the_float_function_stays(name: str) -> None:
    model = model_of(name)
    ctx, before = context(model), runtime.Session(model.to_bytes())
    items = items_of(model, ctx)
    assert max(max(item.amounts) for item in items) > 100
    absorb(model.graph, items, known_shapes(model, ctx))
    after = runtime.Session(model)
    for sample in ctx.calibration:
        for one, two in zip(before.run(sample.feeds).values(), after.run(sample.feeds).values(), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-3)
    assert not items_of(model, ctx)  # nothing is left to be moved


def test_without_an_activation_the_function_stays_whatever_comes() -> None:
    model = model_of("nothing")
    ctx, before = context(model), runtime.Session(model.to_bytes())
    absorb(model.graph, items_of(model, ctx), known_shapes(model, ctx))
    after = runtime.Session(model)
    for sample in ctx.calibration:
        feeds = {name: np.asarray(50 * value - 200, np.float32) for name, value in sample.feeds.items()}
        for one, two in zip(before.run(feeds).values(), after.run(feeds).values(), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize("wall", ["padded", "padded average", "clip", "sum", "product", "output"])
def test_nothing_passes_walls(wall: str) -> None:
    net = Net(3)
    x = first_conv(net)
    if wall == "padded":
        x = net.conv(net.op("Relu", x), (8, 8, 3, 3), bias=True, pads=[0, 0, 1, 1], name="second")
    elif wall == "padded average":
        x = net.op("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 0, 0])
    elif wall == "clip":
        x = net.op("Clip", x, net.array(0.0), net.array(600.0))
    elif wall == "sum":
        x = net.op("Add", x, net.op("Relu", x))
    elif wall == "product":
        x = net.op("Mul", x, net.array(2.0))
    model = shifted(ir.from_bytes(between_convs(net, x).SerializeToString()), AMOUNTS)
    if wall == "output":
        conv = next(model.graph.find("Conv"))
        conv.output.dtype = np.dtype(np.float32)
        model.graph.outputs.append(conv.output)
    first = next(model.graph.find("Conv")).output.name
    assert first not in [item.node for item in items_of(model, context(model))]


def test_a_channel_that_comes_to_zero_keeps_it() -> None:
    model = model_of("relu")
    (item,) = [
        i for i in items_of(model, context(model)) if i.node == next(model.graph.find("Conv")).output.name
    ]
    assert item.amounts[0] == 0.0  # it is zero somewhere
    assert all(0 <= moved < whole + 20 for moved, whole in zip(item.amounts, AMOUNTS, strict=True))


def test_stored_activations_come_closer_and_the_plan_is_replayed(tmp_path: Path) -> None:
    def noise(**options: Any) -> tuple[float, ir.Model]:
        source = model_of("relu")
        exact = runtime.Session(source.to_bytes())
        made, ctx = quantized(source, "generic", **options)  # decided and judged without integer kernels
        session = runtime.Session(made, optimization="disabled")
        pairs = [(exact.run(s.feeds), session.run(s.feeds)) for s in ctx.calibration]
        return sum(float(np.square(a[k] - b[k]).sum()) for a, b in pairs for k in a), made

    plain, _ = noise()
    absorbed, made = noise(absorb=True)
    assert absorbed < 0.5 * plain
    file = str(tmp_path / "ranges.json")
    _, first = noise(absorb=True, ranges=file)
    _, second = noise(absorb=True, ranges=file)
    assert first.to_bytes() == second.to_bytes() == made.to_bytes()
    source = model_of("relu")
    few = data.synthetic(source.signature.inputs, {}, SAMPLES, 0)
    ctx = Context(Inputs(source, calibration=few), target=targets.load("generic"))
    plan = Quant(**{**PLAIN, "absorb": True}).plan(source, ctx)  # type: ignore[arg-type]
    kept = json.loads(json.dumps([dict(item) for item in plan.items]))
    assert any(isinstance(item, AbsorbItem) for item in from_plan(Plan(tuple(kept))))


def test_a_plan_for_another_model_is_refused() -> None:
    model = model_of("relu")
    ctx = context(model)
    for item in (AbsorbItem("nowhere", (1.0,)), AbsorbItem(items_of(model, ctx)[0].node, (1.0, 2.0))):
        with pytest.raises(PassError, match="moves the channels of"):
            absorb(model.graph, [item], known_shapes(model, ctx))


def test_nothing_is_absorbed_where_it_brings_nothing() -> None:
    net = Net(3)
    proto: onnx.ModelProto = between_convs(net, net.op("Relu", first_conv(net)))
    model, _ = quantized(proto, absorb=True)
    plain, _ = quantized(proto)
    assert model.to_bytes() == plain.to_bytes()
    assert Quant(**PLAIN).absorb is False  # type: ignore[arg-type]
