"""Dynamic quantization and weights alone: what they compute, what runs, plans, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime, targets
from graphopt.errors import PassError, UsageError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.insertion.weight_only import quantize_blocks, quantize_channels
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import feeds, fused, ops, quantized, snr


def mixed(opset: int = 17) -> onnx.ModelProto:
    """A Conv with and one without a bias, Gemms of both kinds, and a MatMul with its Add."""
    net = Net(3)
    x = net.op("Relu", net.conv(net.input(shape=(1, 3, 12, 12)), (16, 3, 3, 3), bias=True, name="stem"))
    x = net.op("Relu", net.conv(x, (16, 1, 3, 3), name="depthwise", group=16))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("Relu", net.gemm(x, (64, 16), bias=(64,), name="one", transB=1))
    x = net.op("Relu", net.gemm(x, (64, 64), bias=(64,), name="two"))
    y = net.op("Add", net.op("MatMul", x, net.random(64, 10), name="three"), net.random(10))
    return net.model(y, opset=opset)


def outputs(
    model: ir.Model | onnx.ModelProto, given: dict[str, np.ndarray], level: Any = "all"
) -> np.ndarray:
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    (value,) = runtime.Session(content, optimization=level).run(given).values()
    return value


@pytest.mark.parametrize("options", [{}, {"per_channel": False}], ids=str)
def test_dynamic_layers_run_on_integers_and_stay_close(options: dict[str, Any]) -> None:
    model, ctx = quantized(mixed(), "generic", mode="dynamic", **options)
    counts = ops(model)
    assert counts["ConvInteger"] == 2 and counts["MatMulInteger"] == 3
    assert counts["DynamicQuantizeLinear"] == 5
    assert not [op for op in ("Conv", "Gemm", "MatMul") if counts[op]]
    run = fused(model)
    assert run["DynamicQuantizeMatMul"] + run["MatMulIntegerToFloat"] == 3, "the runtime's own kernel"
    reference = outputs(mixed(), feeds(ctx))
    for level in ("disabled", "all"):
        assert snr(reference, outputs(model, feeds(ctx), level)) > 28


def test_convolutions_stay_float_where_their_kernel_is_slow() -> None:
    model, ctx = quantized(mixed(), mode="dynamic")
    assert ops(model)["Conv"] == 2 and ops(model)["MatMulInteger"] == 3
    assert {s.node for s in ctx.skips if "far slower than in float" in s.reason} == {"stem", "depthwise"}
    assert "runs as 3 DynamicQuantizeMatMul" in ctx.summary


def test_an_input_of_several_layers_is_stored_once() -> None:
    net = Net(4)
    x = net.input(shape=(2, 16))
    y = net.op("Add", net.op("MatMul", x, net.random(16, 8)), net.op("MatMul", x, net.random(16, 8)))
    model, _ = quantized(net.model(y), mode="dynamic")
    assert ops(model)["DynamicQuantizeLinear"] == 1


def test_dynamic_needs_no_samples() -> None:
    proto = mixed()
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    Quant(mode="dynamic").run(model, ctx)
    assert not ctx.inputs.calibration_used


@pytest.mark.parametrize(("bits", "floor", "smaller"), [(8, 42, 2.2), (4, 18, 2.6)])
def test_weights_alone_are_smaller_and_close(bits: int, floor: float, smaller: float) -> None:
    net = Net(5)
    x = net.op("Relu", net.gemm(net.input(shape=(1, 128)), (128, 256), bias=(256,), name="one"))
    proto = net.model(net.op("MatMul", x, net.random(256, 64), name="two"))
    model, ctx = quantized(proto, mode="weights", bits=bits)
    assert len(model.to_bytes()) < proto.ByteSize() / smaller
    assert fused(model)["MatMulNBits"] == 2
    assert "2 MatMulNBits" in ctx.summary
    assert snr(outputs(proto, feeds(ctx)), outputs(model, feeds(ctx), "disabled")) > floor


def test_weights_of_convolutions_have_a_scale_for_each_channel() -> None:
    model, ctx = quantized(mixed(), mode="weights")
    readers = [n for n in model.graph.nodes if n.op == "DequantizeLinear"]
    assert len(readers) == 5
    stem = next(n for n in model.graph.find("Conv") if n.name == "stem").inputs[1].producer
    assert stem.inputs[1].constant.shape == (16,)
    assert "2 weights are read to float" in ctx.summary
    assert snr(outputs(mixed(), feeds(ctx)), outputs(model, feeds(ctx), "disabled")) > 38


@pytest.mark.parametrize("options", [{"mode": "dynamic"}, {"mode": "weights", "bits": 4}], ids=str)
def test_plans_replay_from_their_text(options: dict[str, Any]) -> None:
    model = ir.from_bytes(mixed(12).SerializeToString())
    before = model.to_bytes()
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    plan = Quant(**options).plan(model, ctx)
    assert model.to_bytes() == before, "planning changes nothing"
    results = []
    for items in (plan.items, json.loads(json.dumps([dict(item) for item in plan.items]))):
        again = ir.from_bytes(before)
        Quant(**options).apply(again, Plan(tuple(items)), ctx)
        again.check()
        results.append(again.to_bytes())
    assert results[0] == results[1]


def test_a_plan_for_another_model_is_refused() -> None:
    model = ir.from_bytes(mixed().SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    plan = Plan(({"weight_only": "nobody", "weight_name": "w", "bits": 8, "block": 32},))
    with pytest.raises(PassError, match="speaks of a layer that makes nobody"):
        Quant(mode="weights").apply(model, plan, ctx)


@pytest.mark.parametrize("mode", ["dynamic", "weights"])
def test_a_target_without_the_mode_refuses_it(mode: str) -> None:
    with pytest.raises(UsageError, match=f"mode={mode} is not for the target tensorrt"):
        quantized(mixed(), "tensorrt", mode=mode)


def test_what_cannot_be_stored_says_why() -> None:
    net = Net(6)
    x = net.op("MatMul", net.input(shape=(4, 8)), net.input("w", (8, 4)), name="free")
    _, ctx = quantized(net.model(net.gemm(x, (4, 3), name="scaled", alpha=2.0)), mode="weights")
    assert {s.node: s.reason.split(",")[0] for s in ctx.skips if s.node != "model"} == {
        "free": "its weights w are computed",
        "scaled": "its alpha or beta is not 1",
    }


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rows", [32, 40, 7])
def test_blocks_are_as_close_as_their_scale_allows(bits: int, rows: int) -> None:
    weight = np.random.default_rng(rows).standard_normal((rows, 5)).astype(np.float32)
    made = quantize_blocks(weight, bits, 16)
    scale = np.repeat(made.scale, 16, axis=0)[:rows]
    real = made.values.astype(np.float64) * scale
    inside = np.abs(weight) <= scale * {8: 127, 4: 7}[bits]
    assert np.abs(real - weight)[inside].max() <= 0.5001 * scale.max()
    plain = np.abs(weight).max() / {8: 127, 4: 7}[bits]
    nearest = np.clip(np.rint(weight / plain), -7 if bits == 4 else -127, 127) * plain
    assert np.square(real - weight).sum() <= np.square(nearest - weight).sum()


def test_a_channel_of_zeros_is_stored() -> None:
    weight = np.ones((3, 2, 1, 1), np.float32)
    weight[1] = 0
    made = quantize_channels(weight, 8, 0)
    assert np.isfinite(made.scale).all() and (made.scale > 0).all()
    assert np.array_equal(made.values.astype(np.float32) * made.scale.reshape(3, 1, 1, 1), weight)
