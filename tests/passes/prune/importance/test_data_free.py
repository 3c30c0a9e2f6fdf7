"""Pruning by what batch normalisations foretell, without data."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.passes.prune import Prune
from graphopt.passes.prune.importance.data_free import NOTE
from graphopt.passes.prune.importance.moment_propagation import Moments, activation, expected_moments
from graphopt.runtime import Session
from tests.passes.prune.oracle import context, load

WIDTH = 8
COUNT = 200_000


def network(act: str = "Relu") -> ir.Model:
    """Conv, activation, Conv over one pixel: the second reads what the first makes of normal noise."""
    rng = np.random.default_rng(3)
    weights = {
        "w1": rng.standard_normal((WIDTH, 4, 1, 1)),
        "b1": rng.standard_normal(WIDTH),
        "w2": rng.standard_normal((6, WIDTH, 1, 1)),
        "b2": rng.standard_normal(6),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
            helper.make_node(act, ["a"], ["b"], "act"),
            helper.make_node("Conv", ["b", "w2", "b2"], ["y"], "second"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 1, 1))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6, 1, 1))],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def notes(gamma: np.ndarray, beta: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    return {"a": {"gamma": gamma, "beta": beta}}


@pytest.mark.parametrize(
    "act", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish", "Softplus"]
)
def test_activations_of_normal_channels_have_the_moments_of_many_draws(act: str) -> None:
    node = next(network(act).graph.find(act))
    function = activation(node)
    assert function is not None
    drawn = function(np.random.default_rng(0).normal(0.3, 1.7, COUNT))
    found = Moments(np.array([0.3]), np.array([1.7**2])).through(function)
    assert found.mean == pytest.approx(drawn.mean(), abs=0.02)
    assert found.variance == pytest.approx(drawn.var(), rel=0.02)


def test_layers_are_foretold_from_their_independent_inputs() -> None:
    model = network()
    found = expected_moments(model, {})
    x = np.random.default_rng(1).standard_normal((COUNT, 4))
    first, second = model.graph.find("Conv")
    weights, biases = ([node.inputs[n].constant for node in (first, second)] for n in (1, 2))
    made = x @ weights[0].reshape(WIDTH, 4).T + biases[0]
    assert np.allclose(found["a"].mean, made.mean(axis=0), atol=0.05)
    assert np.allclose(found["a"].variance, made.var(axis=0), rtol=0.03)
    read = np.maximum(made, 0) @ weights[1].reshape(6, WIDTH).T + biases[1]
    assert np.allclose(found["y"].mean, read.mean(axis=0), atol=0.05)


def test_biases_take_over_channels_that_hardly_vary() -> None:
    model = network()
    gamma, beta = np.ones(WIDTH), np.zeros(WIDTH)
    gamma[[2, 5]], beta[[2, 5]] = 1e-4, (4.0, 3.0)
    ctx = context(model)
    ctx.notes[NOTE] = notes(gamma, beta)
    step = Prune(round_to=1)
    plan = step.plan(model, ctx)
    assert plan.items[0]["remove"] == [2, 5]
    _, second = model.graph.find("Conv")
    bias, weight = second.inputs[2].constant.copy(), second.inputs[1].constant.copy()
    step.apply(model, plan, ctx)
    first, second = model.graph.find("Conv")
    assert first.inputs[1].constant.shape[0] == WIDTH - 2
    wanted = bias + weight[:, [2, 5], 0, 0] @ np.array([4.0, 3.0])
    assert np.allclose(second.inputs[2].constant, wanted, atol=1e-3)
    assert any("on average" in change.what for change in ctx.changes)
    Session(model).run({"x": np.ones((1, 4, 1, 1), np.float32)})


def test_without_a_goal_only_what_is_as_good_as_constant_goes() -> None:
    model = network()
    gamma, beta = np.ones(WIDTH), np.zeros(WIDTH)
    gamma[3], beta[6] = 1e-4, -20.0  # hardly varies; never gets over zero
    ctx = context(model)
    ctx.notes[NOTE] = notes(gamma, beta)
    plan = Prune(round_to=1).plan(model, ctx)
    assert [item["remove"] for item in plan.items if item["remove"]] == [[3, 6]]
    assert "as good as constant" in plan.items[0]["rule"]


def test_networks_without_normalisations_are_not_foretold() -> None:
    model = network()
    ctx = context(model)
    plan = Prune(round_to=1).plan(model, ctx)
    assert not any(item["remove"] for item in plan.items)
