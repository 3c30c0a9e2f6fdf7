"""What ``fold-bn`` leaves behind besides right numbers, which the awkward models of ``clean`` check."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.passes.fold_bn import FoldBN
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tests.corpus import case

RNG = np.random.default_rng(3)
PARAMETERS = {
    "gamma": RNG.uniform(-2, 2, 4),
    "beta": RNG.normal(size=4),
    "mean": RNG.normal(size=4),
    "var": RNG.uniform(0.5, 2, 4),
}


def network(nodes: list[onnx.NodeProto], dtype: type = np.float32, **weights: np.ndarray) -> ir.Model:
    """x [N, 3, 6, 6] -> nodes -> y, with the normalisation parameters of four channels at hand."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    arrays = {**PARAMETERS, "w": RNG.normal(size=(4, 3, 3, 3)), **weights}
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", kind, ["N", 4, None, None])],
        [numpy_helper.from_array(v.astype(dtype), k) for k, v in arrays.items() if k in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ir.from_bytes(model.SerializeToString())


def bn(source: str, result: str, name: str = "bn") -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", [source, "gamma", "beta", "mean", "var"], [result], name)


def folded(model: ir.Model, **options: bool) -> Context:
    ctx = Context(Inputs(model))
    FoldBN(**options).run(model, ctx)
    model.check()
    return ctx


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return Session(model, optimization="disabled").run({"x": x})["y"]


def test_gamma_and_beta_are_left_for_later_passes_of_the_run() -> None:
    model = network([helper.make_node("Conv", ["x", "w"], ["c"], "conv"), bn("c", "y")])
    notes = folded(model).notes["batch_norm"]
    conv = next(iter(model.graph.find("Conv")))
    assert list(notes) == [conv.output.name]
    np.testing.assert_allclose(notes["y"]["gamma"], np.abs(PARAMETERS["gamma"]), rtol=1e-6)
    np.testing.assert_allclose(notes["y"]["beta"], PARAMETERS["beta"], rtol=1e-6)


def test_a_lone_normalisation_becomes_two_constants_per_channel_on_request() -> None:
    model = network(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]), bn("r", "y")]
    )
    x = RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before = run(model, x)
    ctx = folded(model, lone=True)
    assert [node.op for node in model.graph.nodes] == ["Conv", "Relu", "Mul", "Add"]
    assert "written as Mul and Add" in ctx.changes[0].what
    np.testing.assert_allclose(run(model, x), before, rtol=1e-4, atol=1e-5)


def test_a_lone_normalisation_stays() -> None:
    model = network(
        [helper.make_node("Relu", ["x"], ["r"]), bn("r", "y")], **{k: v[:3] for k, v in PARAMETERS.items()}
    )
    ctx = folded(model)
    assert [node.op for node in model.graph.nodes] == ["Relu", "BatchNormalization"]
    assert not ctx.changes and "nothing before it can absorb a scale" in ctx.skips[0].reason


@pytest.mark.parametrize("constant", ["Mul", "Add", "Sub", "Div"])
def test_constants_behind_the_normalisation_follow_it_into_the_layer(constant: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        bn("c", "b"),
        helper.make_node(constant, ["b", "k"], ["y"]),
    ]
    model = network(nodes, k=RNG.uniform(1, 2, (4, 1, 1)))
    x = RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before = run(model, x)
    folded(model)
    assert [node.op for node in model.graph.nodes] == ["Conv"]
    np.testing.assert_allclose(run(model, x), before, rtol=1e-4, atol=1e-5)


def test_half_precision_weights_stay_half_and_are_folded_in_wider_numbers() -> None:
    model = network([helper.make_node("Conv", ["x", "w"], ["c"]), bn("c", "y")], np.float16)
    weight = next(iter(model.graph.find("Conv"))).inputs[1].constant.astype(np.float64)
    rounded = {k: v.astype(np.float16).astype(np.float64) for k, v in PARAMETERS.items()}
    scale = rounded["gamma"] / np.sqrt(rounded["var"] + 1e-5)
    folded(model)
    now = next(iter(model.graph.find("Conv"))).inputs[1].constant
    assert now.dtype == np.float16
    np.testing.assert_array_equal(now, (weight * scale[:, None, None, None]).astype(np.float16))


def test_a_planted_error_would_be_seen() -> None:
    """The comparison of outputs is worth something: a wrong epsilon moves them."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), bn("c", "y")]
    nodes[1].attribute.append(helper.make_attribute("epsilon", 0.5))
    model = network(nodes)
    x = RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before = run(model, x)
    next(iter(model.graph.find("BatchNormalization"))).attrs["epsilon"] = 1e-5
    folded(model)
    assert np.abs(run(model, x) - before).max() > 0.05


def test_a_refusal_names_what_changes_at_run_time() -> None:
    proto = case("conv_weight_is_an_input_bn").build()
    ctx = folded(ir.from_bytes(proto.SerializeToString()), lone=False)
    assert len(ctx.skips) == 1 and "can change at run time" in ctx.skips[0].reason


@pytest.mark.parametrize("order", ["conv first", "bn first"])
def test_weights_that_would_leave_float16_are_not_folded(order: str) -> None:
    """A scale of 3e4 on weights of 10: each is a float16, their product is none."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), bn("c", "y")]
    parameters = {"gamma": np.full(4, 3e4), "beta": np.zeros(4), "mean": np.zeros(4), "var": np.ones(4)}
    weights = {**parameters, "w": np.full((4, 3, 3, 3), 10.0)}
    if order == "bn first":
        nodes = [bn("x", "n"), helper.make_node("Conv", ["n", "w"], ["y"], "conv")]
        weights = {**{k: v[:3] for k, v in parameters.items()}, "w": weights["w"]}
    model = network(nodes, np.float16, **weights)
    x = np.full((1, 3, 6, 6), 1e-4, np.float16)
    before = run(model, x)
    assert np.isfinite(before).all()
    ctx = folded(model)
    assert "would leave the range of their type" in ctx.skips[0].reason or "would too" in ctx.skips[0].reason
    np.testing.assert_array_equal(run(model, x), before)


def test_a_variance_below_zero_is_left_to_the_runtime() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), bn("c", "y")]
    model = network(nodes, var=np.array([1.0, -1.0, 1.0, 1.0]))
    assert not folded(model).changes
