"""A file does not grow unsaid: where scales and nodes weigh more than integers save, that is said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.passes.quant.insertion.sizes import file_bytes
from graphopt.passes.quant.insertion.weight_only import weight_bytes_saved
from graphopt.passes.quant.search import model_choice
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv, quantized
from tests.passes.quant.test_quant import small


def tiny() -> onnx.ModelProto:
    net = Net(1)
    return between_convs(net, net.op("Relu", first_conv(net)))


def grown(ctx) -> list[str]:
    return [text for text in ctx.warnings if "the model grows to" in text]


@pytest.mark.parametrize("build", [tiny, small])
def test_the_bytes_of_a_model_are_those_of_its_file(build) -> None:
    model = ir.from_bytes(build().SerializeToString())
    assert file_bytes(model) == pytest.approx(len(model.to_bytes()), rel=0.05)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_growth_is_said(mode: str) -> None:
    model, ctx = quantized(tiny(), mode=mode)
    assert len(model.to_bytes()) > tiny().ByteSize()
    assert grown(ctx)
    model, ctx = quantized(small(), mode=mode)
    assert len(model.to_bytes()) < small().ByteSize()
    assert not grown(ctx)


@pytest.mark.parametrize(("time", "stored"), [(0.9, True), (1.0, False)])
def test_what_is_larger_and_no_faster_stays_float(
    time: float, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        def milliseconds(self, models: list[ir.Model]) -> list[float]:
            return [1.0, time, 2.0][: len(models)]

    monkeypatch.setattr(model_choice, "_timer", lambda ctx: Clock())
    monkeypatch.setattr(model_choice, "slow_nodes", lambda *given: [])
    _, ctx = quantized(tiny(), measure=True)
    assert bool(ctx.changes) == stored
    assert bool(grown(ctx)) == stored
    assert stored or any("no faster" in s.reason and "larger" in s.reason for s in ctx.skips)
    _, ctx = quantized(small(), measure=True)
    assert ctx.changes, "what gets smaller is worth it without being faster"


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_alone_are_stored_where_that_saves(bits: int) -> None:
    net = Net(2)
    x = net.op("Relu", net.gemm(net.input(shape=(1, 64)), (64, 64), bias=(64,), name="wide"))
    proto = net.model(net.gemm(x, (64, 1), name="narrow"), opset=21)
    model, ctx = quantized(proto, mode="weights", bits=bits)
    assert {change.node for change in ctx.changes} == {"wide"}
    assert [(s.node, "weigh more" in s.reason) for s in ctx.skips] == [("narrow", True)]
    assert len(model.to_bytes()) < proto.ByteSize()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [32, 64, 200])
def test_what_a_weight_saves_is_estimated_well(bits: int, size: int) -> None:
    net = Net(2)
    weight = net.random(size, size, name="a_weight_of_usual_name")
    proto = net.model(net.op("MatMul", net.input(shape=(1, size)), weight), opset=21)
    model = ir.from_bytes(proto.SerializeToString())
    saved = weight_bytes_saved(next(model.graph.find("MatMul")), bits, 32)
    made, _ = quantized(proto, mode="weights", bits=bits)
    assert saved == pytest.approx(proto.ByteSize() - len(made.to_bytes()), abs=80)
    assert np.isfinite(saved)
