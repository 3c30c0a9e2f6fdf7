"""Products of more than two dimensions with a bias load in onnxruntime, whatever they are stored in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import runtime
from tests.corpus._net import Net
from tests.passes.quant.small import feeds, ops, quantized, snr


def products(opset: int, *shape: int | str) -> onnx.ModelProto:
    net = Net(1)
    y = net.input(shape=shape)
    for _ in range(2):
        y = net.op("Add", net.random(16), net.op("Tanh", net.op("MatMul", y, net.random(16, 16))))
        y = net.op("Add", net.op("MatMul", y, net.random(16, 16)), net.random(16))
    return net.model(y, opset=opset)


INT8 = {"activations": "int8"}


@pytest.mark.parametrize(
    ("target", "options"),
    [("tensorrt", {}), ("openvino", INT8), ("generic", INT8), ("generic", {**INT8, "bias_correction": True})],
    ids=str,
)
@pytest.mark.parametrize(("opset", "apart"), [(17, 0), (21, 2), (23, 2)])
def test_int8_products_load_and_are_right(target: str, options: dict, opset: int, apart: int) -> None:
    proto = products(opset, 1, 1, 8, 16)
    model, ctx = quantized(proto, target, **options)
    assert ops(model)["Sub"] == apart
    given = feeds(ctx)
    wanted, made = (
        next(iter(runtime.Session(m).run(given).values())) for m in (proto.SerializeToString(), model)
    )
    assert snr(wanted, made) > 25


@pytest.mark.parametrize("target", ["ort-cpu", "generic"])
def test_unsigned_products_keep_their_sums(target: str) -> None:
    model, _ = quantized(products(21, 1, 1, 8, 16), target)
    assert ops(model)["Sub"] == 0
    model, _ = quantized(products(21, 4, 16), "tensorrt")
    assert ops(model)["Sub"] == 0
    assert np.isfinite(
        next(iter(runtime.Session(model).run({"x": np.ones((4, 16), np.float32)}).values()))
    ).all()
