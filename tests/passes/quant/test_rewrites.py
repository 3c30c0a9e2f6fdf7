"""Rewrites: the same float function, and nothing left in float between the layers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime, targets
from graphopt.errors import PassError, UsageError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.items import RewriteItem
from graphopt.passes.quant.rewrites import NAMES, carry_out, find_rewrites
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, between_convs, feeds, first_conv, fused, ops, quantized, snr

LAST = 2**63 - 1
ints = np.array
Middle = Callable[[Net, str], str]


def shortcut(net: Net, x: str, slices: int) -> str:
    """Every second row and column, and four channels of zeros on each side."""
    if slices == 1:
        x = net.op("Slice", x, ints([0, 0]), ints([LAST, LAST]), ints([2, 3]), ints([2, 2]))
    else:
        for axis in (2, 3):
            x = net.op("Slice", x, ints([0]), ints([LAST]), ints([axis]), ints([2]))
    return net.op("Pad", x, ints([0, 4, 0, 0, 0, 4, 0, 0]), name="padded")


def squeeze_excite(net: Net, x: str, channels: int) -> str:
    """A depthwise Conv with its gate, between an expansion and a projection."""
    x = net.op("HardSwish", net.conv(x, (channels, 8, 1, 1), bias=True, name="expand"))
    x = net.conv(x, (channels, 1, 3, 3), bias=True, name="depthwise", group=channels, pads=[1] * 4)
    y = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), (6, channels, 1, 1), name="squeeze"))
    y = net.op("HardSigmoid", net.conv(y, (channels, 6, 1, 1), bias=True, name="excite"))
    return net.conv(net.op("Mul", x, y), (8, channels, 1, 1), name="project")


def slopes(size: int, **shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(-0.3, 0.9, size).astype(np.float32).reshape(-1, 1, 1)


# name: what stands between two Convs, the kind, its channels, and how far outputs may differ (relative)
REWRITES: dict[str, tuple[Middle, str, int, float]] = {
    "mean": (lambda n, x: n.op("ReduceMean", x, axes=[2, 3]), "reduce-mean", 8, 1e-6),
    "mean_from_the_end": (lambda n, x: n.op("ReduceMean", x, axes=[-1, -2]), "reduce-mean", 8, 1e-6),
    "sub_constant": (lambda n, x: n.op("Sub", x, n.array(0.7)), "subtraction", 8, 0.0),
    "sub_from_constant": (lambda n, x: n.op("Sub", n.array(0.7), x), "subtraction", 8, 0.0),
    "sub_of_two": (lambda n, x: n.op("Sub", x, n.conv(x, (8, 8, 1, 1))), "subtraction", 8, 0.0),
    "div": (lambda n, x: n.op("Div", x, n.array(2.7)), "division", 8, 1e-6),
    "div_negative": (lambda n, x: n.op("Div", x, n.array(-0.3)), "division", 8, 1e-6),
    "prelu_one": (lambda n, x: n.op("PRelu", x, np.full((8, 1, 1), 0.2, np.float32)), "prelu", 8, 0.0),
    "prelu_channels": (lambda n, x: n.op("PRelu", x, slopes(8)), "prelu", 8, 1e-6),
    "shortcut": (lambda n, x: shortcut(n, x, 1), "shortcut", 16, 0.0),
    "shortcut_in_two": (lambda n, x: shortcut(n, x, 2), "shortcut", 16, 0.0),
    "mul_channels": (lambda n, x: n.op("Mul", x, n.random(1, 8, 1, 1)), "channel-constant", 8, 0.0),
    "add_channels": (lambda n, x: n.op("Add", n.random(8, 1, 1), x), "channel-constant", 8, 1e-6),
    "depthwise": (lambda n, x: squeeze_excite(n, x, 20), "depthwise-block", 8, 1e-6),
}


def sandwich(name: str) -> onnx.ModelProto:
    middle, _, channels, _ = REWRITES[name]
    net = Net(1)
    y = middle(net, first_conv(net))
    return between_convs(net, y, out=8, channels=channels) if channels == 8 else wide(net, y, channels)


def wide(net: Net, y: str, channels: int) -> onnx.ModelProto:
    y = net.conv(y, (8, channels, 1, 1), bias=True, name="last")
    return net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", y)), (8, 5), bias=(5,)))


def nobody(node: ir.Node) -> None:
    """Nothing is refused."""


@pytest.mark.parametrize("name", REWRITES)
def test_the_float_function_stays(name: str) -> None:
    _, kind, _, tolerance = REWRITES[name]
    proto = sandwich(name)
    model = ir.from_bytes(proto.SerializeToString())
    found = find_rewrites(model, targets.load("ort-cpu"), nobody)
    assert kind in {item.kind for item in found}
    model.check()
    given = {"x": np.random.default_rng(5).standard_normal((1, 3, 8, 8)).astype(np.float32) * 3}
    (before,) = runtime.Session(proto.SerializeToString(), optimization="disabled").run(given).values()
    (after,) = runtime.Session(model, optimization="disabled").run(given).values()
    assert np.abs(before - after).max() <= (tolerance or 1e-12) * np.abs(before).max() + 1e-30


@pytest.mark.parametrize("name", REWRITES)
def test_no_float_is_left_between_the_layers(name: str) -> None:
    proto = sandwich(name)
    model, ctx = quantized(proto)
    run = fused(model)
    assert not [op for op in run if op in ("Conv", "Mul", "Add", "Sub", "Div", "PRelu", "Slice", "Pad")]
    assert run["QuantizeLinear"] == 1, "one at the entry, no island of floats"
    assert run["QLinearConv"] == ops(model)["Conv"]
    (before,) = runtime.Session(proto.SerializeToString()).run(feeds(ctx)).values()
    (after,) = runtime.Session(model).run(feeds(ctx)).values()
    assert snr(before, after) > 18
    assert "planned operators run on integers" in ctx.summary and "in float" not in ctx.summary


def test_a_positive_factor_costs_no_kernel() -> None:
    net = Net(1)
    model, _ = quantized(between_convs(net, net.op("Mul", first_conv(net), net.array(3.5))))
    assert fused(model)["QLinearMul"] == 0
    assert ops(model)["Mul"] == 0


def test_channels_of_zeros_fill_the_block_and_nothing_else_grows() -> None:
    model = ir.from_bytes(sandwich("depthwise").SerializeToString())
    find_rewrites(model, targets.load("ort-cpu"), nobody)
    shapes = {n.name: n.inputs[1].constant.shape for n in model.graph.find("Conv")}
    assert shapes["expand"] == (32, 8, 1, 1) and shapes["depthwise"] == (32, 1, 3, 3)
    assert shapes["squeeze"] == (6, 32, 1, 1) and shapes["excite"] == (32, 6, 1, 1)
    assert shapes["project"] == (8, 32, 1, 1) and shapes["last"] == (8, 8, 1, 1)


def refused_depthwise(net: Net, x: str, spoiler: str) -> str:
    x = net.conv(x, (20, 8, 1, 1), name="expand")
    y = net.conv(x, (20, 1, 3, 3), name="depthwise", group=20, pads=[1] * 4)
    if spoiler == "residual":
        y = net.op("Add", x, y)
    elif spoiler == "softmax":
        y = net.op("Softmax", y, axis=1)
    elif spoiler == "reshape":
        y = net.op("Reshape", y, ints([1, 20, 8, 8]))
    return net.conv(y, (8, 20, 1, 1), name="project")


@pytest.mark.parametrize("spoiler", ["residual", "softmax", "reshape"])
def test_channels_that_others_mix_are_not_widened(spoiler: str) -> None:
    net = Net(3)
    proto = between_convs(net, refused_depthwise(net, first_conv(net), spoiler))
    model = ir.from_bytes(proto.SerializeToString())
    found = find_rewrites(model, targets.load("ort-cpu"), nobody)
    assert [item.kind for item in found] == []


STAYS: dict[str, Middle] = {
    "mean over channels": lambda n, x: n.op("ReduceMean", x, axes=[1]),
    "slopes above one": lambda n, x: n.op("PRelu", x, slopes(8) * 4),
    "slopes by position": lambda n, x: n.op("PRelu", x, n.random(8, 8, 8)),
    "division by zero": lambda n, x: n.op("Div", x, n.array(0.0)),
    "constant by position": lambda n, x: n.op("Mul", x, n.random(1, 1, 8, 8)),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_does_not_fit_stays(name: str) -> None:
    net = Net(4)
    y = STAYS[name](net, first_conv(net))
    net.tell(y, (1, 1 if "channels" in name else 8, 8, 8))
    y = net.conv(y, (8, 1 if "channels" in name else 8, 1, 1), name="last")
    model = ir.from_bytes(net.model(net.op("GlobalAveragePool", y)).SerializeToString())
    before = model.to_bytes()
    assert find_rewrites(model, targets.load("ort-cpu"), nobody) == []
    assert model.to_bytes() == before


def test_rewrites_that_help_no_integer_are_left_out() -> None:
    """The tail after the last layer stays float, so nothing there is rewritten."""
    net = Net(5)
    y = net.op("ReduceMean", net.op("Div", first_conv(net), net.array(3.0)), axes=[2, 3])
    model = ir.from_bytes(net.model(y).SerializeToString())
    plan = Quant(**PLAIN).plan(model, Context(Inputs(model), target=targets.load("ort-cpu")))
    assert not [item for item in plan.items if "rewrite" in item]


def test_plans_with_rewrites_replay_and_foreign_ones_are_refused() -> None:
    proto = sandwich("depthwise")
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    plan = Quant(**PLAIN).plan(model, ctx)
    assert [item["rewrite"] for item in plan.items if "rewrite" in item] == ["depthwise-block"]
    results = []
    for items in (plan.items, json.loads(json.dumps([dict(item) for item in plan.items]))):
        again = ir.from_bytes(proto.SerializeToString())
        Quant(**PLAIN).apply(again, Plan(tuple(items)), ctx)
        results.append(again.to_bytes())
    assert results[0] == results[1]
    with pytest.raises(PassError, match="asks for the rewrite division of nobody"):
        carry_out(model, [RewriteItem("nobody", "division")], ctx.target)


def test_a_rewrite_that_does_not_exist_is_refused_by_name() -> None:
    model = ir.from_bytes(sandwich("depthwise").SerializeToString())
    wrong = dataclasses.replace(targets.load("ort-cpu"), rewrites=("divison",))
    with pytest.raises(UsageError, match="there is no rewrite 'divison'; did you mean 'division'"):
        find_rewrites(model, wrong, nobody)


def test_every_rewrite_that_a_target_of_ours_names_exists() -> None:
    assert {kind for name in targets.names() for kind in targets.load(name).rewrites} == set(NAMES)


def test_a_refused_node_is_not_rewritten() -> None:
    model, ctx = quantized(sandwich("prelu_channels"), exclude=("PRelu*",))
    assert ops(model)["PRelu"] == 1
    assert [s.reason for s in ctx.skips] == ["onnxruntime has no integer kernel for PRelu"]
