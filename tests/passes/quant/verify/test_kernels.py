"""What the pairs compute, against integers written out in numpy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime
from tests.corpus._net import Net
from tests.passes.quant.small import feeds, fused, quantized


def conv_pair(relu: bool) -> onnx.ModelProto:
    """Two Convs without padding, the second with three groups of channels, and a Gemm."""
    net = Net(3)
    x = net.conv(net.input(shape=(1, 3, 7, 7)), (6, 3, 3, 3), bias=True, name="one")
    x = net.op("Relu", x, name="relu") if relu else x
    x = net.conv(x, (6, 2, 3, 3), bias=True, name="two", group=3)
    return net.model(net.gemm(net.op("Flatten", x), (54, 4), bias=(4,), name="fc"))


def stored_values(model: ir.Model, tensor: str) -> tuple[np.ndarray, np.float32, int]:
    """Integers, scale and zero point of a constant that a DequantizeLinear reads."""
    node = next(n for n in model.graph.nodes if n.op == "DequantizeLinear" and n.output.name == tensor)
    zero_point = node.input(2)
    return node.inputs[0].constant, node.inputs[1].constant, 0 if zero_point is None else zero_point.constant


def parameters(model: ir.Model, tensor: str) -> tuple[np.float32, int]:
    """Scale and zero point with which an activation is stored."""
    node = next(n for n in model.graph.nodes if n.op == "QuantizeLinear" and n.inputs[0].name == tensor)
    return np.float32(node.inputs[1].constant), int(node.inputs[2].constant)


def quantize(x: np.ndarray, scale: np.float32, zero_point: int) -> np.ndarray:
    return np.clip(np.rint(x.astype(np.float32) / scale) + zero_point, 0, 255).astype(np.int64)


def integer_conv(x: np.ndarray, w: np.ndarray, bias: np.ndarray, group: int) -> np.ndarray:
    """The exact sum over a valid window; x (1, C, H, W), w (out, in / group, kh, kw)."""
    _, _, height, width = x.shape
    out, per_group, kh, kw = w.shape
    result = np.zeros((1, out, height - kh + 1, width - kw + 1), np.int64)
    for o in range(out):
        start = (o // (out // group)) * per_group
        for i in range(height - kh + 1):
            for j in range(width - kw + 1):
                window = x[0, start : start + per_group, i : i + kh, j : j + kw]
                result[0, o, i, j] = (window * w[o].astype(np.int64)).sum() + bias[o]
    return result


def simulated(model: ir.Model, x: np.ndarray, names: list[tuple[str, str, int]]) -> np.ndarray:
    """The integers after a chain of Convs: (node, tensor that stores its result, groups)."""
    scale, zero_point = parameters(model, "x")
    q = quantize(x, scale, zero_point)
    convs = {node.name: node for node in model.graph.find("Conv")}
    for name, tensor, group in names:
        w, w_scale, _ = stored_values(model, convs[name].inputs[1].name)
        bias, bias_scale, _ = stored_values(model, convs[name].inputs[2].name)
        assert np.array_equal(bias_scale, scale * w_scale)
        total = integer_conv(q - zero_point, w, bias.astype(np.int64), group)
        scale_out, zero_out = parameters(model, tensor)
        factor = (scale * w_scale / scale_out).reshape(1, -1, 1, 1)
        q = np.clip(np.rint(total.astype(np.float32) * factor) + zero_out, 0, 255).astype(np.int64)
        scale, zero_point = scale_out, zero_out
    return q


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"per_channel": False}, {"reduce_range": "all"}, {"reduce_range": "channels"}], ids=str
)
def test_a_chain_of_convs_computes_the_integers_of_the_reference(relu: bool, options: dict) -> None:
    model, ctx = quantized(conv_pair(relu), **options)
    assert fused(model)["QLinearConv"] == 2
    first = "relu.out" if relu else "one.out"
    expected = simulated(model, feeds(ctx)["x"], [("one", first, 1), ("two", "two.out", 3)])
    pairs = [n for n in model.graph.nodes if n.op == "QuantizeLinear" and n.inputs[0].name == "two.out"]
    stored = [n.output.name for n in pairs]
    for level in ("disabled", "basic", "extended", "all"):
        got = runtime.Session(model, outputs=stored, optimization=level).run(feeds(ctx))[stored[0]]
        difference = np.abs(got.astype(np.int64) - expected)
        assert difference.max() <= 1, level
        assert (difference > 0).mean() < 0.02, level  # ties, which levels round differently
    assert len(np.unique(expected)) > 30


def test_an_error_of_one_step_in_the_bias_is_seen() -> None:
    """The oracle is able to fail: a bias moved by one output step moves the integers."""
    model, ctx = quantized(conv_pair(False))
    before = simulated(model, feeds(ctx)["x"], [("one", "one.out", 1)])
    conv = next(n for n in model.graph.find("Conv") if n.name == "one")
    bias = conv.inputs[2].producer.inputs[0]
    scale = parameters(model, "one.out")[0] / conv.inputs[2].producer.inputs[1].constant
    bias.values = (bias.constant + np.rint(scale)).astype(np.int32)
    after = simulated(model, feeds(ctx)["x"], [("one", "one.out", 1)])
    assert (before != after).mean() > 0.9
