"""Float16: what is converted, what stays and why, types at the border, plans."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime
from graphopt.errors import PassError, UsageError
from graphopt.passes.cast import Cast
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import NUMERIC, Case, random_cnn
from tests.corpus._net import Net
from tests.passes.quant.small import corpus_model, feeds, prepared, snr

HALF = np.dtype(np.float16)


def halved(proto: onnx.ModelProto | ir.Model, **options: Any) -> tuple[ir.Model, Context]:
    model = proto if isinstance(proto, ir.Model) else ir.from_bytes(proto.SerializeToString())
    few = data.synthetic(model.signature.inputs, Inputs(model).shapes, 4, 0)
    ctx = Context(Inputs(model, calibration=few))
    signature = model.signature
    Cast(**options).run(model, ctx)
    model.check()
    assert options.get("io") or model.signature == signature
    return model, ctx


def weights(model: ir.Model) -> dict[str, np.dtype]:
    return {n.name: n.inputs[1].constant.dtype for n in model.graph.find("Conv", "Gemm")}


def small(scale: float = 1.0) -> onnx.ModelProto:
    net = Net(2)
    x = net.op("Relu", net.conv(net.input(), (8, 3, 3, 3), bias=True, name="first"))
    x = net.op("Mul", x, net.array(scale), name="scaled")
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, (8, 8, 1, 1), name="second")))
    return net.model(net.op("Softmax", net.gemm(x, (8, 5), bias=(5,), name="fc")))


def close(proto: Any, model: ir.Model, ctx: Context) -> float:
    content = proto.SerializeToString() if isinstance(proto, onnx.ModelProto) else proto
    (before,) = runtime.Session(content).run(feeds(ctx)).values()
    (after,) = runtime.Session(model).run(feeds(ctx)).values()
    return snr(before, after.astype(np.float32))


def test_weights_are_half_and_answers_stay() -> None:
    model, ctx = halved(small())
    assert set(weights(model).values()) == {HALF}
    assert [s.node for s in ctx.skips] == ["Softmax_6"] or all("Softmax" in s.reason for s in ctx.skips)
    assert close(small(), model, ctx) > 50


def test_inputs_and_outputs_become_half_on_request() -> None:
    model, _ = halved(small(), io=True, keep_ops=())
    ports = (*model.signature.inputs, *model.signature.outputs)
    assert {port.dtype for port in ports} == {HALF}
    assert not list(model.graph.find("Cast"))


def test_values_near_the_end_of_the_range_stay_float() -> None:
    model, ctx = halved(small(3e4))
    reasons = {s.node: s.reason for s in ctx.skips}
    assert "too near the largest float16" in reasons["scaled"]
    assert "too near the largest float16" in reasons["second"]
    assert weights(model)["first"] == HALF and weights(model)["second"] == np.float32
    assert np.isfinite(close(small(3e4), model, ctx))
    wild, _ = halved(small(3e4), ranges=False)
    assert weights(wild)["second"] == HALF, "the test is able to fail"


def test_a_constant_beyond_the_range_keeps_its_node_float() -> None:
    model, ctx = halved(small(1e6), ranges=False)
    assert [s.reason for s in ctx.skips if s.node == "scaled" and "1e+06" in s.reason]
    assert weights(model)["first"] == HALF


def test_weights_that_vanish_are_counted() -> None:
    proto = small()
    for tensor in proto.graph.initializer:
        if tensor.name == "first.weight":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values.flat[:3] = 1e-9
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    _, ctx = halved(proto)
    assert any("3 weights are too small" in text for text in ctx.warnings)


def test_kept_nodes_are_computed_in_float32() -> None:
    model, ctx = halved(small(), keep=("second",))
    second = next(n for n in model.graph.find("Conv") if n.name == "second")
    assert second.inputs[1].constant.dtype == np.float32
    assert second.inputs[0].dtype == second.output.dtype == np.float32
    assert [s.reason for s in ctx.skips if s.node == "second"] == ["keep=second"]
    assert close(small(), model, ctx) > 50


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="keep=nobody matches no node"):
        halved(small(), keep=("nobody",))


def test_plans_replay_and_foreign_ones_are_refused() -> None:
    proto = small()
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    plan = Cast().plan(model, ctx)
    text = json.loads(json.dumps([dict(item) for item in plan.items]))
    results = []
    for items in (plan.items, text):
        again = ir.from_bytes(proto.SerializeToString())
        Cast().apply(again, Plan(tuple(items)), Context(Inputs(again)))
        results.append(again.to_bytes())
    assert results[0] == results[1]
    foreign = Plan(({"float16": "model", "io": False}, {"float32": "nobody", "reason": "x"}))
    with pytest.raises(PassError, match="makes nobody"):
        Cast().apply(ir.from_bytes(proto.SerializeToString()), foreign, ctx)


def test_headroom_without_ranges_is_refused() -> None:
    with pytest.raises(UsageError, match="headroom"):
        Cast(ranges=False, headroom=2.0)


def test_a_quantized_model_is_left_alone() -> None:
    net = Net(4)
    x = net.op("QuantizeLinear", net.op("Relu", net.input()), net.array(0.1), np.uint8(3))
    x = net.op("DequantizeLinear", x, net.array(0.1), np.uint8(3))
    model = ir.from_bytes(net.model(x).SerializeToString())
    before, ctx = model.to_bytes(), Context(Inputs(model))
    Cast().run(model, ctx)
    assert model.to_bytes() == before
    assert [s.node for s in ctx.skips] == ["model"]


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed: int) -> None:
    proto = random_cnn(seed)
    model, ctx = halved(proto)
    before = runtime.Session(proto.SerializeToString()).run(feeds(ctx))
    after = runtime.Session(model).run(feeds(ctx))
    for name, value in before.items():
        size = max(float(np.abs(value).max(initial=0)), 1e-3)
        assert np.abs(after[name] - value).max(initial=0) <= 0.05 * size, name


@pytest.mark.parametrize("case", [c for c in NUMERIC if c.valid and c.runs], ids=str)
def test_awkward_models_stay_valid(case: Case) -> None:
    proto = case.build().SerializeToString()
    model = ir.from_bytes(proto)
    given = case.feeds(np.random.default_rng(0))
    Cast(ranges=False).run(model, Context(Inputs(model)))
    model.check()
    before, after = runtime.Session(proto).run(given), runtime.Session(model).run(given)
    assert [*after] == [*before]
    for name, value in before.items():
        assert type(after[name]) is type(value)
        if isinstance(value, np.ndarray):
            assert (after[name].dtype, after[name].shape) == (value.dtype, value.shape), name


@pytest.mark.parametrize("name", ["cifar_resnet20_bn", "ppocr_v2_cls", "ppocr_v4_det", "mtcnn_onet"])
def test_real_models_are_half_as_large(name: str) -> None:
    model = prepared(corpus_model(name))
    before, size = model.to_bytes(), len(model.to_bytes())
    model, ctx = halved(model)
    assert len(model.to_bytes()) < 0.6 * size
    assert runtime.Session(model).run(feeds(ctx)).keys() == runtime.Session(before).run(feeds(ctx)).keys()
