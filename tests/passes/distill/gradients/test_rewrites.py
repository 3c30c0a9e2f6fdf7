"""Every rewrite computes what it replaces, and leaves nothing without a gradient."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import PassError
from graphopt.ir import Node, Tensor
from graphopt.passes.distill.gradients import rewrites
from graphopt.passes.distill.gradients.rewrites import DIFFERENTIABLE
from graphopt.passes.distill.graph.builder import Builder
from graphopt.passes.distill.graph.prepare import prepare, write_back
from graphopt.passes.distill.graph.select import Choice
from tests.passes.distill.nets import CHANNELS, REWRITTEN, SIDE, around, one, weights_of

FEEDS = {"x": np.random.default_rng(1).standard_normal((4, CHANNELS, SIDE, SIDE)).astype(np.float32)}


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_rewritten_student_computes_the_same(name: str) -> None:
    body, opset = REWRITTEN[name]
    student = around(body, opset=opset)
    prepared = prepare(student, FEEDS, Choice())  # compares itself with the student
    assert not prepared.problems
    ops = {node.op for node in prepared.model.graph.nodes}
    assert ops <= DIFFERENTIABLE | {"Greater"}
    assert "first.weight" in prepared.parameters
    auto = [node.attr("auto_pad") for node in prepared.model.graph.nodes]
    assert set(auto) <= {None, "NOTSET"}


@pytest.mark.parametrize("name", REWRITTEN)
def test_parameters_come_back_bit_for_bit(name: str) -> None:
    body, opset = REWRITTEN[name]
    student = around(body, opset=opset)
    prepared = prepare(student, FEEDS, Choice())
    rng = np.random.default_rng(0)
    before = weights_of(student)
    values = {
        name: rng.standard_normal(before[name].shape).astype(np.float32) for name in prepared.parameters
    }
    write_back(student, prepared, values)
    after = weights_of(student)
    assert set(after) == set(before)
    for key, value in after.items():
        np.testing.assert_array_equal(value, values.get(key, before[key]))


def test_a_wrong_rewrite_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(node: Node, to: Builder) -> Tensor:
        return to.op("Clip", to.op("Mul", node.inputs[0], 0.2), 0.0, 1.0)

    monkeypatch.setitem(rewrites.REWRITES, "HardSigmoid", wrong)
    with pytest.raises(PassError, match="differs from the student: output y"):
        prepare(around(one("HardSigmoid")), FEEDS, Choice())


@pytest.mark.parametrize("op", ["Floor", "Round", "Sign", "Ceil"])
def test_what_has_no_gradient_is_named_with_its_node(op: str) -> None:
    prepared = prepare(around(one(op)), FEEDS, Choice())
    (problem,) = prepared.problems
    assert (problem.op, problem.node) == (op, "it")


def test_what_lies_behind_no_trained_tensor_needs_no_gradient() -> None:
    student = around(one("Floor"))
    prepared = prepare(student, FEEDS, Choice(behind="it"))
    assert prepared.parameters == ("last.weight",)
    assert not prepared.problems
    assert not prepare(student, FEEDS, Choice(freeze=("first*",))).problems
