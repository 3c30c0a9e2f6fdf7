"""Where the pairs stand, and that onnxruntime then runs the operator on integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime
from tests.corpus._net import Net
from tests.passes.quant.small import (
    between_convs,
    feeds,
    first_conv,
    fused,
    ops,
    planned_convs,
    quantized,
    snr,
)

ints = np.array

Middle = Callable[[Net, str], str]


def branch(net: Net, x: str, channels: int = 8) -> str:
    """Another Conv."""
    return net.conv(x, (channels, 8, 1, 1), bias=True)


def split(net: Net, x: str) -> str:
    """Two halves that change places."""
    first, second = net.many(2, "Split", x, ints([4, 4]), axis=1)
    return net.op("Concat", second, first, axis=1)


# What stands between two Convs, and the operators that onnxruntime must run for it besides the two.
INTEGER: dict[str, tuple[Middle, dict[str, int]]] = {
    "relu": (lambda n, x: n.op("Relu", x), {"Relu": 0}),
    "relu6": (lambda n, x: n.op("Clip", x, n.array(0), n.array(0.4)), {"Clip": 0}),
    "clip_both_sides": (lambda n, x: n.op("Clip", x, n.array(-0.3), n.array(0.5)), {"Clip": 0}),
    "relu_and_clip": (lambda n, x: n.op("Clip", n.op("Relu", x), None, n.array(0.4)), {"Clip": 0}),
    "add": (lambda n, x: n.op("Add", x, branch(n, x)), {"QLinearAdd": 1}),
    "add_relu": (lambda n, x: n.op("Relu", n.op("Add", x, branch(n, x))), {"QLinearAdd": 1, "Relu": 0}),
    "add_of_itself": (lambda n, x: n.op("Add", x, x), {"QLinearAdd": 1}),
    "mul": (lambda n, x: n.op("Mul", x, branch(n, x)), {"QLinearMul": 1}),
    "concat": (lambda n, x: n.op("Concat", branch(n, x, 4), branch(n, x, 4), axis=1), {"QLinearConcat": 1}),
    "split": (lambda n, x: split(n, x), {"Split": 1, "QLinearConcat": 1}),
    "max_pool": (lambda n, x: n.op("MaxPool", x, kernel_shape=[2, 2]), {"MaxPool": 0, "NhwcMaxPool": 1}),
    "average_pool": (lambda n, x: n.op("AveragePool", x, kernel_shape=[2, 2]), {"QLinearAveragePool": 1}),
    "leaky_relu": (lambda n, x: n.op("LeakyRelu", x, alpha=0.1), {"QLinearLeakyRelu": 1}),
    "silu": (lambda n, x: n.op("Mul", x, n.op("Sigmoid", x)), {"QLinearSigmoid": 1, "QLinearMul": 1}),
    "hard_sigmoid": (lambda n, x: n.op("HardSigmoid", x, alpha=0.5, beta=0.3), {"QLinearAdd": 1}),
    "hard_sigmoid_relu": (lambda n, x: n.op("Relu", n.op("HardSigmoid", x)), {"QLinearAdd": 1}),
    "hard_swish": (lambda n, x: n.op("HardSwish", x), {"QLinearAdd": 1, "QLinearMul": 1}),
    "hard_swish_written": (
        lambda n, x: n.op("Mul", n.op("HardSigmoid", x, alpha=1 / 6), x),
        {"QLinearAdd": 1, "QLinearMul": 1},
    ),
    "add_number": (lambda n, x: n.op("Add", n.array(-0.7), x), {"QLinearAdd": 1}),
    "mul_number": (lambda n, x: n.op("Mul", x, np.full((1, 1, 1, 1), -1.3, np.float32)), {"QLinearMul": 1}),
    "transpose": (lambda n, x: n.op("Transpose", x, perm=[0, 1, 3, 2]), {}),
    "slice": (lambda n, x: n.op("Slice", x, ints([1, 1]), ints([7, 7]), ints([2, 3])), {"Slice": 1}),
    "reshape": (lambda n, x: n.op("Reshape", x, ints([1, 8, 4, 16])), {"Reshape": 1}),
    "resize": (lambda n, x: n.op("Resize", x, None, np.array([1, 1, 2, 2], np.float32)), {"Resize": 1}),
    "pad": (lambda n, x: n.op("Pad", x, ints([0, 0, 1, 2, 0, 0, 3, 0])), {"Pad": 1}),
    "pad_with_zero": (lambda n, x: n.op("Pad", x, ints([0] * 6 + [1, 1]), n.array(0)), {"Pad": 1}),
    "unsqueeze_squeeze": (lambda n, x: n.op("Squeeze", n.op("Unsqueeze", x, ints([0])), ints([0])), {}),
    "squeeze_excite": (
        lambda n, x: n.op("Mul", x, n.op("Sigmoid", branch(n, n.op("GlobalAveragePool", x)))),
        {"QLinearGlobalAveragePool": 2, "QLinearSigmoid": 1, "QLinearMul": 1},
    ),
}
FLOAT_OPS = ("Conv", "FusedConv", "Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSigmoid", "QuickGelu")


def sandwich(middle: Middle, opset: int = 17) -> onnx.ModelProto:
    net = Net(1)
    model = between_convs(net, middle(net, first_conv(net)))
    model.opset_import[0].version = opset
    return model


@pytest.mark.parametrize("name", INTEGER)
@pytest.mark.parametrize("opset", [14, 21])
def test_it_runs_on_integers(name: str, opset: int) -> None:
    middle, expected = INTEGER[name]
    if name == "split" and opset > 17:
        pytest.skip("a Split of opset 18 is the same but for num_outputs")
    proto = sandwich(middle, opset)
    before = runtime.Session(proto.SerializeToString())
    model, ctx = quantized(proto)
    run = fused(model)
    assert not [op for op in FLOAT_OPS if run[op]]
    assert run["QLinearConv"] == ops(model)["Conv"]
    assert run["QuantizeLinear"] == 1, "one at the entry, no island of floats"
    assert run["QGemm"] == 1
    assert {op: run[op] for op in expected} == expected
    (y,) = before.output_names
    reference = before.run(feeds(ctx))[y]
    results = {
        level: runtime.Session(model, optimization=level).run(feeds(ctx))[y] for level in ("disabled", "all")
    }
    assert min(snr(reference, value) for value in results.values()) > 18
    assert snr(results["disabled"], results["all"]) > 30


@pytest.mark.parametrize("op", ["HardSigmoid", "HardSwish"])
def test_an_integer_gate_is_within_two_steps(op: str) -> None:
    net = Net(12)
    x = net.conv(net.input(), (8, 3, 3, 3), name="first")
    big = net.op("Mul", x, net.array(-8.0))
    proto = between_convs(net, net.op(op, big, name="gate"))
    model, ctx = quantized(proto)
    shown = runtime.Session(ir.from_bytes(proto.SerializeToString()), outputs=["gate.out"]).run(feeds(ctx))
    pairs = {n.inputs[1].name: n for n in model.graph.nodes if n.op == "DequantizeLinear"}
    read = next(n.inputs[0] for n in model.graph.find("Conv") if n.name == "last")
    assert read.producer in pairs.values()
    scale = float(read.producer.inputs[1].constant)
    (value,) = runtime.Session(model, outputs=[read.name], optimization="disabled").run(feeds(ctx)).values()
    entry = next(
        n for n in model.graph.nodes if n.op == "QuantizeLinear" and n.inputs[0].name.startswith("Mul")
    )
    step = max(scale, float(entry.inputs[1].constant))
    assert np.abs(shown["gate.out"]).max() > 0.9, "the gate opens"
    assert np.abs(value - shown["gate.out"]).max() < 8 * step
    assert snr(shown["gate.out"], value) > 28


STAYS: dict[str, tuple[Middle, str]] = {
    "resize": (
        lambda n, x: n.op("Resize", x, None, np.array([1, 1, 2, 2], np.float32), mode="linear"),
        "linear Resize",
    ),
    "pad": (lambda n, x: n.op("Pad", x, ints([0] * 6 + [1, 1]), n.array(1)), "does not pad with zero"),
    "tanh": (lambda n, x: n.op("Tanh", x), "no integer kernel for Tanh"),
    "add": (lambda n, x: n.op("Add", x, n.random(1, 8, 1, 8)), "more than one number"),
    "clip": (lambda n, x: n.op("Clip", x, n.array(0.1), n.array(6)), "do not contain zero"),
    "two": (lambda n, x: n.op("Tanh", n.op("Sub", x, n.array(0.1))), "no integer kernel for Sub"),
    "conv_transpose": (lambda n, x: n.conv(x, (8, 8, 2, 2), op="ConvTranspose"), "kernel for ConvTranspose"),
}


@pytest.mark.parametrize("name", STAYS)
def test_it_stays_float_for_a_reason(name: str) -> None:
    middle, reason = STAYS[name]
    model, ctx = quantized(sandwich(middle))
    assert [skip for skip in ctx.skips if reason in skip.reason]
    assert fused(model)["QLinearConv"] == 2, "the Convs around it do not"


def layer_with(change: Callable[[Net, str], str]) -> onnx.ModelProto:
    """A Conv, a layer made by ``change``, and a Conv."""
    net = Net(2)
    return between_convs(net, change(net, first_conv(net)))


LAYER_REASONS: dict[str, tuple[Middle, str]] = {
    "weight": (
        lambda n, x: n.op("Conv", x, n.op("Mul", n.random(8, 8, 1, 1), n.input("s", (1,))), name="c"),
        "are computed",
    ),
    "bias": (lambda n, x: n.op("Conv", x, n.random(8, 8, 1, 1), n.input("b", (8,)), name="c"), "its bias b"),
}


@pytest.mark.parametrize("name", LAYER_REASONS)
def test_a_layer_stays_float_for_a_reason(name: str) -> None:
    change, reason = LAYER_REASONS[name]
    model, ctx = quantized(layer_with(change))
    assert [skip for skip in ctx.skips if skip.node == "c" and reason in skip.reason]
    assert planned_convs(model) == 2
    run = fused(model)
    assert run["QLinearConv"] == 2
    assert run["Conv"] == 1


def test_a_conv_that_ends_in_an_output_stays_float() -> None:
    net = Net(4)
    x = net.op("Relu", first_conv(net))
    model, ctx = quantized(net.model(net.op("Softmax", net.conv(x, (8, 8, 1, 1), name="end"), axis=1)))
    assert [s.node for s in ctx.skips] == ["end"]
    assert "without being summed again" in ctx.skips[0].reason
    assert fused(model)["QLinearConv"] == 1


def test_the_scores_of_a_gemm_stay_float() -> None:
    """Two hundred inputs give as many different scores, which 8 bits could not tell apart."""
    net = Net(5)
    x = net.op("GlobalAveragePool", net.op("Relu", first_conv(net)))
    model, ctx = quantized(net.model(net.gemm(net.op("Flatten", x), (8, 300), bias=(300,))))
    (scores,) = runtime.Session(model).run(feeds(ctx)).values()
    assert fused(model)["QGemm"] == 1
    assert len(np.unique(scores)) > 256


def test_a_tensor_that_is_an_output_too_stays_float_there() -> None:
    net = Net(6)
    x = first_conv(net)
    y = net.op("Relu", x, name="shown")
    z = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", net.conv(y, (8, 8, 1, 1)))), (8, 4))
    model, _ = quantized(net.model("shown.out", z))
    assert not any(t.name == "shown.out" and t.producer.op == "DequantizeLinear" for t in model.graph.outputs)
    assert fused(model)["QLinearConv"] == 2


def test_carriers_after_the_last_layer_stay_float() -> None:
    net = Net(7)
    x = net.op("Relu", first_conv(net))
    model, _ = quantized(net.model(net.op("Flatten", net.op("GlobalAveragePool", x))))
    run = fused(model)
    assert run["QLinearConv"] == 1
    assert run["QLinearGlobalAveragePool"] == 0
    assert run["GlobalAveragePool"] == 1


@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemms_in_a_row_pass_integers_on(trans_b: int) -> None:
    net = Net(8)
    x = net.op("Relu", net.gemm(net.input(shape=(1, 12)), (12, 12), bias=(12,), transB=trans_b))
    shape = (5, 12) if trans_b else (12, 5)
    model, _ = quantized(net.model(net.gemm(x, shape, bias=(1, 5), transB=trans_b)))
    run = fused(model)
    assert run["QGemm"] == 2
    assert run["QuantizeLinear"] == 1
    assert run["Relu"] == 0


@pytest.mark.parametrize("shape", [(2, 7, 12), (7, 12)], ids=str)
def test_matmuls_run_on_integers_with_and_without_the_add_that_biases_them(shape: tuple[int, ...]) -> None:
    net = Net(9)
    x = net.op("Add", net.random(16), net.op("MatMul", net.input(shape=shape), net.random(12, 16)))
    model, ctx = quantized(net.model(net.op("MatMul", net.op("Tanh", x), net.random(16, 3))))
    run = fused(model)
    assert (run["QGemm"], run["MatMulIntegerToFloat"]) == (1, 1)
    first, second = (runtime.Session(model, optimization=o).run(feeds(ctx)) for o in ("disabled", "all"))
    assert all(snr(first[name], second[name]) > 60 for name in first)


def chain() -> onnx.ModelProto:
    """Four Convs a, b, c, d with ReLU, and a Gemm."""
    net = Net(10)
    x = net.input()
    for index, name in enumerate("abcd"):
        x = net.op("Relu", net.conv(x, (8, 8 if index else 3, 3, 3), bias=True, name=name, pads=[1, 1, 1, 1]))
    return net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), (8, 4), name="fc"))


@pytest.mark.parametrize("excluded", ["a", "b", "d", "b|c", "fc"])
def test_an_excluded_layer_is_really_computed_in_float(excluded: str) -> None:
    """onnxruntime quantizes a float layer between integers by itself, unless the file prevents it."""
    names = tuple(excluded.split("|"))
    model, ctx = quantized(chain(), exclude=names)
    run = fused(model)
    convs = [name for name in names if name != "fc"]
    assert run["Conv"] + run["FusedConv"] == len(convs)
    assert run["QLinearConv"] == 4 - len(convs)
    assert run["QGemm"] == ("fc" not in names)
    assert {s.node for s in ctx.skips if "exclude=" in s.reason} == set(names)
    got = [runtime.Session(model, optimization=level).run(feeds(ctx)) for level in ("disabled", "all")]
    for name, value in got[0].items():
        assert snr(value, got[1][name]) > 45


def test_without_its_wall_an_excluded_layer_would_be_quantized() -> None:
    """The test above is able to fail: the same file without the scales by channel is re-quantized."""
    model, _ = quantized(chain(), exclude=("b",))
    pairs = [n for n in model.graph.nodes if n.op == "DequantizeLinear" and n.inputs[0].constant is None]
    (wall,) = [n for n in pairs if n.inputs[1].constant.shape == (8,)]
    scale, zero_point = (t.constant[0] for t in wall.inputs[1:])
    wall.inputs = [
        wall.inputs[0],
        *(model.graph.add_constant("plain", np.asarray(v)) for v in (scale, zero_point)),
    ]
    del wall.attrs["axis"]
    assert fused(model)["QLinearConv"] == 4


def test_include_names_the_only_layers() -> None:
    model, ctx = quantized(chain(), include=("b", "c"))
    run = fused(model)
    assert run["QLinearConv"] == 2
    assert run["Conv"] + run["FusedConv"] == 2
    assert {s.node for s in ctx.skips} == {"a", "d", "fc"}


def test_excluding_a_carrier_keeps_it_float() -> None:
    net = Net(11)
    x = net.op("MaxPool", first_conv(net), kernel_shape=[2, 2], name="pool")
    model, ctx = quantized(between_convs(net, x), exclude=("pool",))
    assert [s.node for s in ctx.skips] == ["pool"]
    assert fused(model)["QLinearConv"] == 2
