"""The pass as a whole: options, plans, old opsets, what it refuses, and that nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphopt import ir, runtime, targets
from graphopt.errors import PassError, UsageError
from graphopt.passes.quant import Quant, plan_builder
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import case
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, between_convs, feeds, first_conv, fused, ops, quantized, snr


def small(opset: int = 17, dims: tuple[Any, ...] = (1, 3, 12, 12)) -> onnx.ModelProto:
    """A residual net with 20,000 weights."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(shape=dims), (32, 3, 3, 3), bias=True, name="stem"))
    y = net.op("Relu", net.conv(x, (32, 32, 3, 3), bias=True, name="one", pads=[1] * 4))
    y = net.op("Relu", net.op("Add", x, net.conv(y, (32, 32, 3, 3), bias=True, name="two", pads=[1] * 4)))
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    return net.model(net.gemm(y, (32, 10), bias=(10,), name="fc"), opset=opset, ir=6 if opset < 13 else 8)


def run_plan(proto: onnx.ModelProto, plan: Plan) -> bytes:
    model = ir.from_bytes(proto.SerializeToString())
    Quant().apply(model, plan, Context(Inputs(model), target=targets.load("ort-cpu")))
    return model.to_bytes()


def make_plan(proto: onnx.ModelProto, **options: Any) -> tuple[Plan, Context]:
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    before = model.to_bytes()
    plan = Quant(**{**PLAIN, **options}).plan(model, ctx)
    assert model.to_bytes() == before, "planning changes nothing"
    return plan, ctx


def test_the_file_is_a_quarter() -> None:
    proto = small()
    model, ctx = quantized(proto)
    assert len(model.to_bytes()) < proto.ByteSize() / 3
    assert {c.node for c in ctx.changes} == {"stem", "one", "two", "fc"}
    floats = [t for t in onnx.load_from_string(model.to_bytes()).graph.initializer if t.data_type == 1]
    assert sum(int(np.prod(t.dims)) for t in floats) < 500, "scales alone are left"


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 22])
def test_every_opset_gives_a_valid_integer_model(opset: int) -> None:
    proto = small(opset)
    model, ctx = quantized(proto)
    assert model.opset == max(opset, 13)
    assert fused(model)["QLinearConv"] == 3
    (before,) = runtime.Session(proto.SerializeToString()).run(feeds(ctx)).values()
    (after,) = runtime.Session(model).run(feeds(ctx)).values()
    assert snr(before, after) > 25


def test_opset_9_with_bounds_as_attributes() -> None:
    net = Net(1)
    x = net.op("Clip", first_conv(net), min=0.0, max=0.4, name="clip")
    net2 = between_convs(net, x)
    net2.opset_import[0].version = 9
    net2.ir_version = 4
    for tensor in net2.graph.initializer:
        net2.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, 1, tensor.dims))
    net2.ir_version = 3
    model, _ = quantized(net2)
    assert model.opset == 13
    run = fused(model)
    assert run["QLinearConv"] == 2
    assert run["Clip"] == 0


def test_dynamic_shapes_stay_dynamic() -> None:
    model, _ = quantized(small(dims=("N", 3, "H", "W")))
    session = runtime.Session(model)
    for shape in ((1, 3, 12, 12), (3, 3, 20, 9)):
        (scores,) = session.run({"x": np.ones(shape, np.float32)}).values()
        assert scores.shape == (shape[0], 10)


def test_a_plan_replays_from_its_text() -> None:
    plan, _ = make_plan(small())
    text = json.dumps([dict(item) for item in plan.items])
    replayed = run_plan(small(), Plan(tuple(json.loads(text))))
    assert replayed == run_plan(small(), plan)
    assert fused(ir.from_bytes(replayed))["QLinearConv"] == 3


def test_a_plan_of_every_kind_of_item_replays_from_its_text() -> None:
    net = Net(3)
    x = net.op("HardSwish", net.op("Pad", first_conv(net), np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    x = net.conv(net.op("Add", x, net.array(2.0)), (8, 8, 1, 1))
    proto = between_convs(net, net.conv(x, (8, 8, 1, 1), name="float"))
    plan, _ = make_plan(proto, exclude=("float",), bias_correction=True)
    kinds = {next(iter(item)) for item in plan.items}
    assert kinds == {
        "tensor",
        "weight",
        "integer_pad",
        "integer_scalar",
        "integer_gate",
        "float_layer",
        "tune",
    }
    replayed = run_plan(proto, Plan(tuple(json.loads(json.dumps([dict(item) for item in plan.items])))))
    assert replayed == run_plan(proto, plan)


def test_two_runs_give_the_same_bytes() -> None:
    assert quantized(small())[0].to_bytes() == quantized(small())[0].to_bytes()


def test_a_plan_can_be_edited() -> None:
    plan, _ = make_plan(small())
    items = [dict(item) for item in plan.items]
    target = next(item for item in items if item.get("tensor") == "x")
    target["scale"] *= 2
    model = ir.from_bytes(run_plan(small(), Plan(tuple(items))))
    entry = next(node for node in model.graph.nodes if node.op == "QuantizeLinear")
    assert entry.inputs[1].constant == np.float32(target["scale"])


def test_a_plan_for_another_model_is_refused() -> None:
    plan, _ = make_plan(small())
    net = Net(5)
    other = between_convs(net, first_conv(net))
    with pytest.raises(PassError, match="the plan speaks of"):
        run_plan(other, plan)


@pytest.mark.parametrize(
    "item",
    [
        {"what": 1},
        {"tensor": "x", "scale": -1.0, "zero_point": 0, "dtype": "uint8"},
        {"weight": "w", "node": "n"},
    ],
    ids=str,
)
def test_items_of_another_kind_are_refused(item: dict[str, Any]) -> None:
    with pytest.raises(PassError, match="item 0 of the plan"):
        run_plan(small(), Plan((item,)))


def test_a_plan_that_stores_a_weight_but_not_the_input_is_refused() -> None:
    plan, _ = make_plan(small())
    items = tuple(item for item in plan.items if item.get("tensor") != "x")
    with pytest.raises(PassError, match="not what its layer"):
        run_plan(small(), Plan(items))


def test_a_quantized_model_is_left_alone() -> None:
    model, _ = quantized(small())
    before = model.to_bytes()
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    Quant(**PLAIN).run(model, ctx)
    assert model.to_bytes() == before
    assert ctx.changes == []
    assert [s.reason for s in ctx.skips if "quantized already" in s.reason]


def test_float16_stays_with_a_reason() -> None:
    net = Net(3, np.float16)
    proto = between_convs(net, net.op("Relu", first_conv(net)))
    model, ctx = quantized(proto)
    assert ops(model)["QuantizeLinear"] == 0
    assert {s.reason for s in ctx.skips if s.node != "model"} == {"its weights are float16, not float32"}


def test_a_model_without_layers_is_left_alone() -> None:
    net = Net(4)
    _, ctx = quantized(net.model(net.op("Relu", net.input())))
    assert ctx.changes == []
    assert [s.reason for s in ctx.skips] == ["it has no layer that can run on integers"]


def test_layers_in_a_body_are_named() -> None:
    net = Net(6)
    x = net.op("Relu", net.conv(net.input(), (3, 3, 1, 1), name="outer"))
    body = net.body()
    inner = body.conv(x, (3, 3, 1, 1), name="inner")
    other = net.body()
    graphs = {"then_branch": body.graph(inner), "else_branch": other.graph(other.op("Identity", x))}
    branch = net.op("If", net.input("flag", (1,), np.bool_), **graphs)
    y = net.op("Flatten", net.op("GlobalAveragePool", net.conv(branch, (3, 3, 1, 1), name="after")))
    model, ctx = quantized(net.model(net.gemm(y, (3, 2))))
    assert ("inner", "it is inside the body of an If, Loop or Scan") in {
        (s.node, s.reason) for s in ctx.skips
    }
    assert fused(model)["QLinearConv"] == 2


def test_a_shared_weight_is_stored_once() -> None:
    net = Net(7)
    weight = net.random(8, 8, 3, 3, name="shared")
    x = first_conv(net)
    for index in range(3):
        x = net.op("Relu", net.op("Conv", x, weight, name=f"c{index}", pads=[1] * 4))
    model, _ = quantized(between_convs(net, x))
    assert sum(t.dtype == np.int8 and t.shape == (8, 8, 3, 3) for t in model.graph.initializers) == 1
    assert not any(t.name == "shared" for t in model.graph.initializers)
    assert fused(model)["QLinearConv"] == 5


def test_a_weight_shared_with_a_float_layer_stays_there() -> None:
    net = Net(7)
    weight = net.random(8, 8, 3, 3, name="shared")
    x = net.op("Conv", first_conv(net), weight, name="c0", pads=[1] * 4)
    x = net.op("Conv", x, weight, name="c1", pads=[1] * 4)
    model, _ = quantized(between_convs(net, x), exclude=("c1",))
    kept = next(t for t in model.graph.initializers if t.name == "shared")
    assert kept.dtype == np.float32
    assert len(kept.consumers) == 1


def test_weights_in_constant_nodes_leave_with_their_nodes() -> None:
    proto = small()
    for tensor in list(proto.graph.initializer):
        node = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        proto.graph.node.insert(0, node)
    del proto.graph.initializer[:]
    model, _ = quantized(proto)
    assert ops(model)["Constant"] == 0
    assert len(model.to_bytes()) < proto.ByteSize() / 3


def test_a_tensor_of_zeros_and_a_dead_channel_do_no_harm() -> None:
    proto = small()
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name == "one.weight":
            values[3] = 0
            values[5] *= 1e-10
        if tensor.name == "one.bias":
            values[:] = -1e6
            values[5] = 3.0
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    model, ctx = quantized(proto)
    (before,) = runtime.Session(proto.SerializeToString()).run(feeds(ctx)).values()
    (after,) = runtime.Session(model).run(feeds(ctx)).values()
    assert snr(before, after) > 20


def test_patterns_that_match_nothing_are_refused() -> None:
    for name in ("include", "exclude"):
        with pytest.raises(UsageError, match=f"{name}=conv_\\* matches no node"):
            make_plan(small(), **{name: ("conv_*",)})


@pytest.mark.parametrize(
    ("isa", "choice", "limit", "sums"),
    [
        ("avx512_vnni", "auto", 127, "int32"),
        ("avx2", "auto", 127, "int16"),
        ("neon", "auto", 127, "int32"),
        ("avx2", "none", 127, "int32"),
        ("amx_int8", "channels", 127, "int16"),
        ("amx_int8", "all", 63, "int32"),
    ],
)
def test_weights_heed_how_the_processor_adds(
    isa: str, choice: str, limit: int, sums: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "machine", lambda: {"isa": isa})
    plan, _ = make_plan(small(), reduce_range=choice)
    weights = [item for item in plan.items if "weight" in item]
    assert {item["limit"] for item in weights} == {limit}
    assert {item.get("sums", "int32") for item in weights} == {sums}


def test_ranges_come_from_the_planned_tensors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    collect = plan_builder.measure_ranges

    def spy(model: ir.Model, tensors: Any, *others: Any) -> Any:
        asked.extend(tensors)
        return collect(model, tensors, *others)

    monkeypatch.setattr(plan_builder, "measure_ranges", spy)
    plan, ctx = make_plan(small())
    stored = [item["tensor"] for item in plan.items if "tensor" in item]
    assert set(asked) < set(stored), "a Flatten has the range of what it reads"
    assert any("synthetic" in text for text in ctx.warnings)


def test_a_model_that_no_converter_understands_is_left_alone() -> None:
    _, ctx = quantized(case("bn_not_spatial").build())
    assert ctx.changes == []
    assert [s.reason for s in ctx.skips if "cannot be converted from opset 7 to 13" in s.reason]


def test_float_islands_are_warned_about() -> None:
    net = Net(9)
    x = net.conv(net.op("Tanh", first_conv(net)), (8, 8, 1, 1))
    proto = between_convs(net, net.op("Tanh", x))
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    Quant(**PLAIN).run(model, ctx)
    assert [text for text in ctx.warnings if "2 operators" in text and "float" in text]


@pytest.mark.parametrize("target", ["qnn", "tensorrt"])
def test_what_was_not_run_on_its_target_says_so(target: str) -> None:
    _, ctx = quantized(small(), target)
    assert [text for text in ctx.warnings if f"the rules of {target}, not run there" in text]
