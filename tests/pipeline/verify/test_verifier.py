"""What small differences prove and what not: choices, randomness, NaN, half precision, custom operators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.errors import VerificationError
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.verify.discontinuities import find_walls
from graphopt.pipeline.verify.reference import Reference
from graphopt.pipeline.verify.verifier import Check, Verifier, default_tolerance
from graphopt.runtime import Difference


def build(
    nodes: list[onnx.NodeProto], outputs: dict[str, int], dtype: int = TensorProto.FLOAT, **arrays: Any
) -> ir.Model:
    """A model x[1,8] -> nodes -> outputs (element type by name)."""
    np_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, [1, 8])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [
            numpy_helper.from_array(np.asarray(a, np.int64 if name.startswith("i_") else np_dtype), name)
            for name, a in arrays.items()
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ir.from_bytes(proto.SerializeToString())


def add_noise(model: ir.Model, tensor: str, amount: Any) -> None:
    """Replace a constant by itself times (1 + amount)."""
    for node in model.graph.nodes:
        for index, read in enumerate(node.inputs):
            if read.name == tensor:
                values = read.constant
                node.inputs[index] = model.graph.add_constant(
                    "noisy", (values * (1 + amount)).astype(values.dtype)
                )


def check(model: ir.Model, step: Any, change: Any, **options: Any) -> tuple[Check, list[str]]:
    """Verify one change as if ``step`` had made it."""
    ctx = Context(Inputs(model))
    verifier = Verifier(model, ctx, **options)
    verifier.before(step, model)
    change(model)
    return verifier.after(step, model), ctx.warnings


@pytest.fixture
def exact(fakes: SimpleNamespace) -> Any:
    return fakes.DropIdentity()


def test_a_flipped_choice_is_excused_by_equal_scores(exact: Any) -> None:
    nodes = [  # every score is 1, so that the last bit of one decides what TopK picks
        helper.make_node("Mul", ["x", "zeros"], ["m"], "mul"),
        helper.make_node("Add", ["m", "ones"], ["s"], "add"),
        helper.make_node("TopK", ["s", "i_k"], ["values", "indices"], "topk"),
    ]
    outputs = {"values": TensorProto.FLOAT, "indices": TensorProto.INT64}
    model = build(nodes, outputs, zeros=np.zeros(8), ones=np.ones(8), i_k=[3])
    picked: list[bool] = []

    def flip(changed: ir.Model) -> None:
        add_noise(changed, "ones", np.eye(8, dtype=np.float32)[7] * 1e-6)
        picked.append(True)

    found, warnings = check(model, exact, flip)
    assert picked
    assert found.max_abs_diff == pytest.approx(1e-6, rel=0.1)
    assert warnings == []


def test_a_choice_that_moved_with_its_scores_is_caught(exact: Any) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "mul"),
        helper.make_node("ArgMax", ["m"], ["y"], "pick", axis=1),
    ]
    model = build(nodes, {"y": TensorProto.INT64}, scale=np.linspace(1, 2, 8))
    with pytest.raises(VerificationError, match=r"output y differs in \d of 4 elements"):
        check(model, exact, lambda m: add_noise(m, "scale", -2.0))


def test_what_enters_a_choice_and_is_gone_cannot_be_judged(exact: Any) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "mul"),
        helper.make_node("Round", ["m"], ["y"], "round"),
    ]
    model = build(nodes, {"y": TensorProto.FLOAT}, scale=np.full(8, 1000.0))

    def rename(changed: ir.Model) -> None:
        add_noise(changed, "scale", 0.5)
        next(iter(changed.graph.find("Mul"))).outputs[0].name = "other"

    _, warnings = check(model, exact, rename)
    assert any("cannot be found any more" in text for text in warnings)


def test_random_outputs_are_not_compared_and_others_are(exact: Any) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"], "noise"),
        helper.make_node("Add", ["x", "r"], ["a"], "add"),
        helper.make_node("Mul", ["x", "scale"], ["b"], "mul"),
    ]
    model = build(nodes, {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT}, scale=np.ones(8))
    found, warnings = check(model, exact, lambda m: None)
    assert found.max_abs_diff == 0.0
    assert warnings == ["output a depends on random operators and is not compared"]
    with pytest.raises(VerificationError, match="output b"):
        check(model, exact, lambda m: add_noise(m, "scale", 0.1))


def test_nan_cannot_be_judged_and_is_no_pass(exact: Any) -> None:
    nodes = [helper.make_node("Div", ["x", "zero"], ["y"], "div")]
    model = build(nodes, {"y": TensorProto.FLOAT}, zero=np.zeros(8))
    _, warnings = check(model, exact, lambda m: None)
    assert warnings == ["output y held NaN or infinity before: its numbers cannot be judged"]


def test_a_new_nan_is_caught(exact: Any) -> None:
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "mul")]
    model = build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8))
    with pytest.raises(VerificationError, match="output y"):
        check(model, exact, lambda m: add_noise(m, "scale", np.nan))


def test_no_approximation_may_answer_with_nan(fakes: SimpleNamespace) -> None:
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "mul")]
    model = build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8))
    found, _ = check(model, fakes.Scale(), lambda m: add_noise(m, "scale", -0.5))
    assert found.snr_db == pytest.approx(20 * np.log10(2), abs=0.1)
    with pytest.raises(VerificationError, match="after scale output y holds NaN or infinity"):
        check(model, fakes.Scale(), lambda m: add_noise(m, "noisy", np.nan))


def test_half_precision_has_a_wider_tolerance(exact: Any) -> None:
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "mul")]
    half = build(nodes, {"y": TensorProto.FLOAT16}, dtype=TensorProto.FLOAT16, scale=np.ones(8))
    single = build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8))
    assert (default_tolerance(half), default_tolerance(single)) == (2e-2, None)
    check(half, exact, lambda m: add_noise(m, "scale", 0.01))
    with pytest.raises(VerificationError, match=r"moved by 0\.001.* more than the 0\.0001 allowed"):
        check(single, exact, lambda m: add_noise(m, "scale", 0.001))


def test_a_custom_operator_without_its_library_is_said_loudly(exact: Any) -> None:
    model = build(
        [helper.make_node("Own", ["x"], ["y"], "own", domain="my.domain")], {"y": TensorProto.FLOAT}
    )
    model.header.opset_import.add(domain="my.domain", version=1)
    found, warnings = check(model, exact, lambda m: None)
    assert found == Check()
    assert "NOT checked" in warnings[0]
    assert "--custom-ops" in warnings[0]


def test_a_model_that_no_longer_runs_is_caught(exact: Any) -> None:
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "mul")]
    model = build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8))

    def unknown(changed: ir.Model) -> None:
        next(iter(changed.graph.find("Mul"))).op = "NoSuchOperator"

    with pytest.raises(VerificationError, match="no longer runs"):
        check(model, exact, unknown)


def test_walls_name_the_tensors_nearest_to_the_inputs() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "mul"),
        helper.make_node("Round", ["m"], ["r"], "first"),
        helper.make_node("Add", ["r", "scale"], ["s"], "add"),
        helper.make_node("ArgMax", ["s"], ["y"], "second", axis=1),
        helper.make_node("Relu", ["m"], ["z"], "relu"),
    ]
    walls = find_walls(build(nodes, {"y": TensorProto.INT64, "z": TensorProto.FLOAT}, scale=np.ones(8)))
    assert walls.entering == {"y": ("m",)}
    assert walls.random == frozenset()


def test_what_onnxruntime_itself_blurs_is_no_difference(exact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "mul")]
    model = build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8))

    def blurred(self: Reference, _: ir.Model) -> dict[str, Difference]:
        own = Difference("y", "float32", 8, max_abs=0.01, peak=1.0, snr_db=40.0, unequal=0, nonfinite=0)
        return {"y": own}

    def nudge(changed: ir.Model) -> None:
        add_noise(changed, "scale", 0.001)

    with pytest.raises(VerificationError):
        check(model, exact, nudge)
    monkeypatch.setattr(Reference, "noise", blurred)
    check(model, exact, nudge)
    with pytest.raises(VerificationError):
        check(model, exact, lambda m: add_noise(m, "noisy", 0.5))


def test_noise_is_measured_on_the_reference_and_leaves_the_model(fakes: SimpleNamespace) -> None:
    model = ir.from_bytes(fakes.build().SerializeToString())
    reference = Reference(model, Context(Inputs(model)))
    add_noise(model, "fc", 0.5)
    changed = model.to_bytes()
    assert reference.noise(model)["y"].relative < 1e-5
    assert model.to_bytes() == changed
    assert reference.compare(model, ["y"])["y"].relative > 0.01


def test_tensors_inside_a_subgraph_are_not_asked_for() -> None:
    def branch(name: str) -> onnx.GraphProto:
        inside = [
            helper.make_node("Mul", ["m", "m"], [f"{name}_square"]),
            helper.make_node("Round", [f"{name}_square"], [f"{name}_out"]),
        ]
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
        return helper.make_graph(inside, name, [], [out])

    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "mul"),
        helper.make_node("ReduceSum", ["m"], ["total"], "sum", keepdims=0),
        helper.make_node("Cast", ["total"], ["yes"], "cast", to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch("a"), else_branch=branch("b")),
    ]
    walls = find_walls(build(nodes, {"y": TensorProto.FLOAT}, scale=np.ones(8)))
    assert set(walls.entering["y"]) >= {"m"}
    assert not [name for name in walls.tensors if name.startswith(("a_", "b_"))]
