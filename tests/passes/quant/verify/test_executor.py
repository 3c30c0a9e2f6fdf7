"""A numpy executor of fake quantization, the reference of onnx and the runtime agree on the same integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from graphopt import ir, runtime
from graphopt.ir import Model, Node
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, feeds, first_conv, quantized

REFERENCE = 19  # the first opset whose DequantizeLinear the reference computes


def quantize(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """Round half to even, then saturate."""
    limits = np.iinfo(zero_point.dtype)
    steps = np.rint(x / np.float32(scale)).astype(np.float64) + zero_point.astype(np.float64)
    return np.clip(steps, limits.min, limits.max).astype(zero_point.dtype)


def dequantize(node: Node, q: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | int = 0) -> np.ndarray:
    along = [-1 if axis == node.attr("axis", 1) else 1 for axis in range(q.ndim)]
    scale, zero = (np.reshape(v, along) if np.size(v) > 1 else v for v in (scale, zero_point))
    return ((q.astype(np.int64) - np.asarray(zero, np.int64)) * scale).astype(np.float32)


def conv(node: Node, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """By the definition: a sum over taps and the channels of a group, in float64."""
    pads, steps = node.attr("pads", [0] * 4), node.attr("strides", [1, 1])
    groups = node.attr("group", 1)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: steps[0], :: steps[1]]
    split = windows.reshape(len(x), groups, -1, *windows.shape[2:])
    kernels = w.astype(np.float64).reshape(groups, -1, *w.shape[1:])
    made = np.einsum("ngchwij,gocij->ngohw", split, kernels).reshape(len(x), -1, *windows.shape[2:4])
    return (made + (0 if b is None else b.reshape(1, -1, 1, 1))).astype(np.float32)


def gemm(node: Node, x: np.ndarray, w: np.ndarray, b: np.ndarray | float = 0.0) -> np.ndarray:
    return (x.astype(np.float64) @ (w.T if node.attr("transB", 0) else w) + b).astype(np.float32)


KERNELS = {
    "QuantizeLinear": lambda node, *values: quantize(*values),
    "DequantizeLinear": dequantize,
    "Conv": conv,
    "Gemm": gemm,
    "Relu": lambda node, x: np.maximum(x, 0),
    "Add": lambda node, x, y: x + y,
    "Concat": lambda node, *values: np.concatenate(values, axis=node.attr("axis", 1)),
    "Flatten": lambda node, x: x.reshape(len(x), -1),
    "GlobalAveragePool": lambda node, x: x.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(
        np.float32
    ),
}


def executed(model: Model, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of a quantized network."""
    values = dict(given)
    for node in model.graph.nodes:
        read = [t.constant if t.constant is not None else values[t.name] for t in node.inputs]
        values[node.output.name] = KERNELS[node.op](node, *read)
    return values


def plain(net: Net) -> onnx.ModelProto:
    return between_convs(net, net.op("Relu", first_conv(net)))


def depthwise(net: Net) -> onnx.ModelProto:
    x = net.op("Relu", first_conv(net))
    return between_convs(net, net.op("Relu", net.conv(x, (8, 1, 3, 3), group=8, bias=True, strides=[2, 2])))


def residual(net: Net) -> onnx.ModelProto:
    x = net.op("Relu", first_conv(net))
    return between_convs(net, net.op("Relu", net.op("Add", x, net.conv(x, (8, 8, 3, 3), pads=[1] * 4))))


def joined(net: Net) -> onnx.ModelProto:
    x = net.op("Relu", first_conv(net))
    both = net.op("Concat", net.conv(x, (3, 8, 1, 1)), net.conv(x, (5, 8, 1, 1)), axis=1)
    return between_convs(net, both)


@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"rounding": "second-order"}], ids=str)
@pytest.mark.parametrize("build", [plain, depthwise, residual, joined])
def test_three_executors_agree(build, options: dict) -> None:
    """Integers differ by one step at most, where sums in another order fall on the other side of a tie."""
    model, ctx = quantized(build(Net(4)), **options)
    ir.convert_opset(model, REFERENCE)
    given = feeds(ctx)
    stored = [n.output.name for n in model.graph.find("QuantizeLinear")]
    mine = executed(model, given)
    reference = ReferenceEvaluator(onnx.load_from_string(model.to_bytes(stored)))
    theirs = dict(zip(reference.output_names, reference.run(None, given), strict=True))
    run = runtime.Session(model, outputs=stored, optimization="disabled").run(given)
    for name in stored:
        for other in (theirs[name], run[name]):
            difference = np.abs(mine[name].astype(np.int64) - other.astype(np.int64))
            assert difference.max() <= 1, name
            assert (difference > 0).mean() < 0.01, name
    assert len(np.unique(mine[stored[-1]])) > 3
