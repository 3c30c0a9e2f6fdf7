"""Types that operators decide: contrib operators, sequences, bodies, old opsets, defaults of inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import ir, runtime
from graphopt.passes.cast import Cast
from graphopt.passes.cast import types as cast_types
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import count_ops, random_feeds
from tests.corpus._net import Net

CONTRIB = "com.microsoft"


def halved(proto: onnx.ModelProto, **options: Any) -> tuple[ir.Model, Context]:
    """Cast a model, check it and compare what it answers."""
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    signature = model.signature
    Cast(**options).run(model, ctx)
    model.check()
    assert options.get("io") or model.signature == signature
    feeds = random_feeds(proto, np.random.default_rng(0))
    before = runtime.Session(proto.SerializeToString()).run(feeds)
    if options.get("io"):
        wanted = {port.name: port.dtype for port in model.signature.inputs}
        feeds = {name: value.astype(wanted[name]) for name, value in feeds.items()}
    after = runtime.Session(model).run(feeds)
    for name, value in before.items():
        size = max(float(np.nanmax(np.abs(value), initial=0)), 1e-3)
        np.testing.assert_allclose(after[name].astype(np.float32), value, rtol=0, atol=0.02 * size)
    return model, ctx


def halves(model: ir.Model) -> set[str]:
    """The operators of the main graph that read float16 constants."""
    constants = ((n.op, t.constant) for n in model.graph.nodes for t in n.inputs)
    return {op for op, value in constants if value is not None and value.dtype == np.float16}


def between(op: str, *, domain: str = "", outputs: int = 1, opset: int = 17, **attrs: Any) -> onnx.ModelProto:
    """MatMul, a node, MatMul."""
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    y, *_ = net.many(outputs, op, x, domain=domain, **attrs)
    y = net.op("MatMul", y, net.random(4, 4))
    return net.model(net.tell(y, (2, 4)), opset=opset, domains=[domain] if domain else [])


@pytest.mark.parametrize("op", ["FastGelu", "Gelu", "QuickGelu"])
def test_operators_of_the_runtime_stand_between_casts(op: str) -> None:
    model, ctx = halved(between(op, domain=CONTRIB))
    assert halves(model) == {"MatMul"} and len(list(model.graph.find("Cast"))) == 4
    assert [skip.reason for skip in ctx.skips] == ["it is not known whether its operator takes float16"]


def test_a_type_that_nobody_knows_keeps_its_neighbours() -> None:
    """A node of a local function whose body the runtime does not see: nothing is converted around it."""
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    y = net.op("Opaque", x, domain="nobody")
    y = net.op("MatMul", y, net.random(4, 4), name="behind")
    proto = net.model(net.tell(y, (2, 4)), domains=["nobody"])
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    Cast(ranges=False).run(model, ctx)
    reasons = {skip.node: skip.reason for skip in ctx.skips}
    assert "is not known" in reasons["behind"]
    behind = next(n for n in model.graph.nodes if n.name == "behind")
    assert behind.inputs[1].constant is not None and behind.inputs[1].constant.dtype == np.float32


def test_sequences_keep_their_elements() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    filled = net.op("SequenceInsert", net.op("SequenceEmpty"), x)
    y = net.op("SequenceAt", filled, np.int64(0))
    y = net.op("MatMul", y, net.random(4, 4))
    model, ctx = halved(net.model(net.tell(y, (2, 4))))
    assert halves(model) == {"MatMul"}
    assert any("a sequence or optional" in skip.reason for skip in ctx.skips)


def test_bodies_stay_float_and_read_floats() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    then, other = net.body(), net.body()
    then_graph = then.graph(then.op("Neg", then.op("Neg", x)))
    other_graph = other.graph(other.op("MatMul", x, other.random(4, 4)))
    flag = net.input("flag", (1,), np.bool_)
    y = net.op("If", flag, then_branch=then_graph, else_branch=other_graph)
    y = net.op("MatMul", y, net.random(4, 4))
    model, ctx = halved(net.model(net.tell(y, (2, 4)), x))
    assert halves(model) == {"MatMul"}
    assert [skip.reason for skip in ctx.skips] == ["the bodies of If stay float32"]


def test_a_loop_hands_on_floats() -> None:
    net, body = Net(1), None
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    body = net.body()
    body.input("step", (), np.int64)
    body.input("going", (), np.bool_)
    state = body.input("state", (2, 4))
    going = body.tell(body.op("Identity", "going"), (), np.bool_)
    state = body.tell(body.op("Add", state, x), (2, 4))
    loop = body.graph(going, state)
    y = net.op("Loop", np.int64(3), np.array(True), x, body=loop)
    y = net.op("MatMul", y, net.random(4, 4))
    model, _ = halved(net.model(net.tell(y, (2, 4))))
    assert halves(model) == {"MatMul"}


def test_casts_before_opset_6_write_their_type_as_text() -> None:
    net = Net(1)
    x = net.op("Relu", net.op("Neg", net.input(shape=(2, 4))))
    model = ir.from_bytes(net.model(net.tell(x, (2, 4)), opset=5, ir=3).SerializeToString())
    Cast(ranges=False).run(model, Context(Inputs(model)))
    onnx.checker.check_model(model.to_bytes(), full_check=True)
    assert {node.attrs["to"] for node in model.graph.find("Cast")} == {"FLOAT", "FLOAT16"}


def test_what_is_no_number_on_the_samples_stays_float() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    y = net.op("Log", x, name="log")
    z = net.op("Concat", net.op("MatMul", x, net.random(4, 4), name="beside"), y, axis=1, name="join")
    model, ctx = halved(net.model(z))
    reasons = {skip.node: skip.reason for skip in ctx.skips}
    assert {"log", "join"} == set(reasons) and "NaN on the samples" in reasons["log"]
    assert halves(model) == {"MatMul"}


NO_HALF = {
    "Celu": (17, (), {}, (1, 1, 4, 2)),
    "DFT": (17, (), {"axis": 2, "onesided": 0}, (1, 1, 4, 2)),
    "Resize": (10, (np.array([1, 1, 2, 2], np.float32),), {}, (1, 1, 8, 4)),
}


@pytest.mark.parametrize("op", NO_HALF)
def test_operators_without_float16_stay_float(op: str) -> None:
    opset, operands, attrs, shape = NO_HALF[op]
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(1, 1, 4, 2)), net.random(2, 2))
    y = net.op("Neg", net.op(op, x, *operands, **attrs))
    model, _ = halved(net.model(net.tell(y, shape), opset=opset), keep_ops=())
    assert "MatMul" in halves(model)


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND", "MeanVarianceNormalization"])
def test_what_onnxruntime_cannot_do_in_float16_stays_float(op: str) -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(1, 4, 4, 4)), net.random(4, 4))
    updates, at = np.ones((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.int64)
    if op == "ScatterElements":
        y = net.op(op, x, at, updates, reduction="add")
    elif op == "ScatterND":
        y = net.op(op, x, np.array([[0, 1, 2, 3]]), np.ones(1, np.float32), reduction="mul")
    else:
        y = net.op(op, x)
    model, _ = halved(net.model(net.tell(net.op("Neg", y), (1, 4, 4, 4))))
    assert halves(model) == {"MatMul"}


def test_results_whose_type_is_an_attribute_are_cast() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    y = net.op("Mul", x, net.op("HannWindow", net.op("Size", net.input("v", (4,)))))
    model, _ = halved(net.model(net.tell(y, (2, 4))))
    assert halves(model) == {"MatMul"}


def test_outputs_that_are_listed_twice_are_cast_once() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4))
    proto = net.model(x)
    proto.graph.output.append(proto.graph.output[0])
    model = ir.from_bytes(proto.SerializeToString())
    Cast(ranges=False).run(model, Context(Inputs(model)))
    assert [node.op for node in model.graph.nodes] == ["Cast", "MatMul", "Cast"]


def test_defaults_of_inputs_keep_their_type() -> None:
    net = Net(1)
    w = net.random(4, 4, name="w")
    proto = net.model(net.op("MatMul", net.input(shape=(2, 4)), w), listed=["w"])
    model = ir.from_bytes(proto.SerializeToString())
    Cast(io=True, ranges=False).run(model, Context(Inputs(model)))
    assert {port.name: port.dtype for port in model.signature.inputs} == {"x": np.float16}
    after = runtime.Session(model).run({"x": np.ones((2, 4), np.float16)})
    assert [value.dtype for value in after.values()] == [np.float16]


def test_nodes_whose_first_output_is_absent_have_names_of_their_own() -> None:
    net = Net(1)
    x = net.op("MatMul", net.input(shape=(3, 1, 4)), net.random(4, 4))
    for name, scale in (("tame", 1.0), ("wild", 1e6)):
        weights = [net.const(scale * net.rng.uniform(-1, 1, (1, 8, 4)).astype(np.float32))]
        weights.append(net.random(1, 8, 2))
        net.node("LSTM", [x, *weights], ["", f"{name}.h"], name=name, hidden_size=2)
    y = net.op("Add", "tame.h", "wild.h")
    model, ctx = halved(net.model(net.tell(y, (1, 1, 2))))
    assert {skip.node for skip in ctx.skips} == {"wild"}
    assert halves(model) == {"MatMul", "LSTM"}


def test_other_floating_types_stay() -> None:
    net = Net(1, dtype=np.float64)
    x = net.op("Cast", net.op("MatMul", net.input(shape=(2, 4)), net.random(4, 4)), to=TensorProto.FLOAT)
    y = net.op("MatMul", x, net.rng.uniform(-1, 1, (4, 4)).astype(np.float32))
    model, _ = halved(net.model(net.tell(y, (2, 4), np.float32)))
    kinds = {n.inputs[1].constant.dtype for n in model.graph.find("MatMul")}
    assert kinds == {np.dtype(np.float64), np.dtype(np.float16)}


def test_a_fixed_shape_is_no_obstacle() -> None:
    """Shapes that a run sets in place of the file's leave the types known."""
    net = Net(1)
    y = net.op("Relu", net.conv(net.input(shape=("N", 3, 8, 8)), (4, 3, 3, 3), bias=True))
    model = ir.from_bytes(net.model(y).SerializeToString())
    model.graph.inputs[0].shape = (1, 3, 8, 8)
    Cast(ranges=False).run(model, Context(Inputs(model)))
    assert halves(model) == {"Conv"}
    assert runtime.Session(model).run({"x": np.ones((1, 3, 8, 8), np.float32)})


def test_facts_are_gathered_a_few_times_for_any_number_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    gather = cast_types.gather_facts
    monkeypatch.setattr(cast_types, "gather_facts", lambda model: calls.append(1) or gather(model))
    net = Net(1)
    x = net.input(shape=(2, 4))
    for _ in range(200):
        x = net.op("Relu", x)
    proto = net.model(net.tell(x, (2, 4)))
    model = ir.from_bytes(proto.SerializeToString())
    Cast(ranges=False).run(model, Context(Inputs(model)))
    assert len(calls) == 2
    assert count_ops(onnx.ModelProto.FromString(model.to_bytes())) == {"Relu": 200, "Cast": 2}
    assert helper.np_dtype_to_tensor_dtype(np.dtype(np.float16)) == TensorProto.FLOAT16
