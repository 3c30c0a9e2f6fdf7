"""The float form of a quantized model computes with the same weights, and hands over every scale."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import runtime
from graphopt.backends.workers.ncnn_int8 import Stored
from graphopt.pipeline.deploy.float_form import float_form, has_pairs
from tests.corpus._net import Net
from tests.passes.quant.small import feeds, quantized


def residual(seed: int = 0):  # type: ignore[no-untyped-def]
    net = Net(seed)
    x = net.op("Relu", net.conv(net.input(), (16, 3, 3, 3), bias=True, pads=[1] * 4))
    y = net.conv(x, (16, 16, 3, 3), bias=True, pads=[1] * 4)
    y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.op("Add", x, y))))
    return net.model(net.gemm(y, (16, 10), bias=(10,)))


@pytest.mark.parametrize("target", ["ncnn", "openvino", "tensorrt"])
def test_only_the_rounding_of_activations_is_gone(target: str) -> None:
    model, ctx = quantized(residual(), target)
    plain, layers = float_form(model)
    assert has_pairs(model) and not has_pairs(plain)
    plain.check()
    assert not list(plain.graph.find("QuantizeLinear")) and plain.signature == model.signature
    (before,) = runtime.Session(residual().SerializeToString()).run(feeds(ctx)).values()
    (after,) = runtime.Session(plain).run(feeds(ctx)).values()
    (whole,) = runtime.Session(model, optimization="disabled").run(feeds(ctx)).values()
    noise = [float(np.square(v - before).mean()) for v in (after, whole)]
    assert noise[0] < noise[1]  # weights alone are rounded
    assert len(layers) == sum(1 for n in model.graph.find("Conv", "Gemm") if _reads_integers(n))


def _reads_integers(node) -> bool:  # type: ignore[no-untyped-def]
    producers = [tensor.producer for tensor in node.inputs[:2]]
    return all(p is not None and p.op == "DequantizeLinear" for p in producers)


def test_the_weights_of_the_file_are_those_that_the_scales_stand_for() -> None:
    """By their bytes layers are found again in what pnnx makes of the file."""
    model, _ = quantized(residual(), "ncnn")
    plain, layers = float_form(model)
    held = {_rows(n).tobytes() for n in plain.graph.find("Conv", "Gemm")}
    assert layers
    for layer in layers:
        assert Stored(layer.values, layer.scales, layer.input_scale).floats in held
        assert layer.zero_point == 0 and layer.values.dtype == np.int8
        assert layer.scales.shape == (layer.values.shape[0],)


def _rows(node) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The weight with outputs first, as ncnn keeps it."""
    weight = node.inputs[1].constant
    return np.ascontiguousarray(weight.T if node.op == "Gemm" and not node.attr("transB", 0) else weight)
