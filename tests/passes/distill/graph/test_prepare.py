"""What is trained, what is fixed for training, and how it comes back into the student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import ir
from graphopt.errors import PassError, UsageError
from graphopt.passes.distill.graph.prepare import prepare, write_back
from graphopt.passes.distill.graph.select import Choice
from graphopt.runtime import Session
from tests.passes.distill.nets import (
    CHANNELS,
    SIDE,
    Nodes,
    Weights,
    around,
    build,
    classifier,
    one,
    weights_of,
)

MODELS = Path(__file__).resolve().parents[4] / "models"
FEEDS = {"x": np.random.default_rng(1).standard_normal((4, CHANNELS, SIDE, SIDE)).astype(np.float32)}


def test_the_layers_weights_and_biases_are_trained() -> None:
    prepared = prepare(classifier(), FEEDS, Choice())
    assert set(prepared.parameters) == set(weights_of(classifier()))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(train=("last*",)), {"last.weight", "last.bias"}),
        (Choice(freeze=("*.bias", "first")), {"second.weight", "last.weight"}),
        (Choice(behind="r1"), {"second.weight", "second.bias", "last.weight", "last.bias"}),
        (Choice(behind="relu2", freeze=("*.bias",)), {"last.weight"}),
    ],
)
def test_the_user_chooses(choice: Choice, expected: set[str]) -> None:
    assert set(prepare(classifier(), FEEDS, choice).parameters) == expected


@pytest.mark.parametrize(
    "choice", [Choice(train=("nothing",)), Choice(freeze=("frist",)), Choice(behind="no")]
)
def test_patterns_that_name_nothing_are_refused(choice: Choice) -> None:
    with pytest.raises(UsageError, match=r"nothing|frist|no "):
        prepare(classifier(), FEEDS, choice)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(PassError, match="no weights that can be trained"):
        prepare(classifier(), FEEDS, Choice(freeze=("*",)))


def test_a_detectors_table_is_not_trained() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["ramp"] = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
        weights["wide"] = np.ones((16, CHANNELS, 1, 1), np.float32)
        weights["back"] = np.ones((CHANNELS, 1, 1, 1), np.float32)
        return [
            helper.make_node("Conv", ["a", "wide"], ["w"], "widen"),
            helper.make_node("Conv", ["w", "ramp"], ["d"], "dfl"),
            helper.make_node("Conv", ["d", "back"], ["b"], "narrow"),
        ]

    found = prepare(around(body), FEEDS, Choice()).parameters
    assert "ramp" not in found
    assert {"wide", "back"} <= set(found)


@pytest.mark.parametrize("opset", [11, 13, 17, 21, 22])
def test_opsets_are_brought_into_reach(opset: int) -> None:
    prepared = prepare(around(one("Relu"), opset=opset), FEEDS, Choice())
    assert 13 <= prepared.model.opset <= 21
    assert prepared.model.ir_version <= 10


def _moved(student: ir.Model, edit: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Train by hand: change every parameter and write it back; what the prepared graph then holds."""
    prepared = prepare(student, FEEDS, Choice())
    held = {t.name: t for t in prepared.model.graph.initializers}
    values = {name: edit(np.array(held[name].constant)) for name in prepared.parameters}
    write_back(student, prepared, values)
    return values


def test_constant_nodes_stay_constant_nodes() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        value = helper.make_tensor(
            "v", TensorProto.FLOAT, [CHANNELS, CHANNELS, 1, 1], rng.standard_normal(16)
        )
        return [
            helper.make_node("Constant", [], ["k"], "constant", value=value),
            helper.make_node("Conv", ["a", "k"], ["b"], "it"),
        ]

    student = around(body)
    values = _moved(student, lambda value: value + 1)
    node = next(student.graph.find("Constant"))
    np.testing.assert_array_equal(node.output.constant, values["k"])
    student.check()


def test_copies_of_one_constant_are_trained_apart() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["shared"] = rng.standard_normal(CHANNELS).astype(np.float32)
        weights["w1"] = rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        weights["w2"] = rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        return [
            helper.make_node("Identity", ["shared"], ["copy"], "copied"),
            helper.make_node("Conv", ["a", "w1", "shared"], ["c"], "one"),
            helper.make_node("Conv", ["c", "w2", "copy"], ["b"], "two"),
        ]

    student = around(body)
    prepared = prepare(student, FEEDS, Choice())
    assert {"shared", "copy"} <= set(prepared.parameters)
    zeros, ones = np.zeros(CHANNELS, np.float32), np.ones(CHANNELS, np.float32)
    write_back(student, prepared, {"shared": zeros, "copy": ones})
    nodes = {node.name: node for node in student.graph.nodes}
    np.testing.assert_array_equal(nodes["one"].inputs[2].constant, zeros)
    np.testing.assert_array_equal(nodes["two"].inputs[2].constant, ones)
    student.check()


def test_half_precision_is_trained_in_float_and_stored_in_half() -> None:
    proto = onnx.load_from_string(around(one("Relu")).to_bytes())
    for tensor in proto.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    student = ir.from_bytes(proto.SerializeToString())
    prepared = prepare(student, {"x": FEEDS["x"].astype(np.float16)}, Choice())
    write_back(student, prepared, {"first.bias": np.full(CHANNELS, 0.1, np.float32)})
    stored = weights_of(student)["first.bias"]
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, np.full(CHANNELS, 0.1, np.float16))


def test_a_folded_normalisation_comes_back_as_itself() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        for name in ("g", "s", "mu"):
            weights[name] = rng.standard_normal(CHANNELS).astype(np.float32)
        weights["v"] = np.abs(rng.standard_normal(CHANNELS)).astype(np.float32)
        return [helper.make_node("BatchNormalization", ["a", "g", "s", "mu", "v"], ["b"], "it")]

    student = around(body)
    prepared = prepare(student, FEEDS, Choice())
    assert {"g", "s", "first.weight", "first.bias"} <= set(prepared.parameters)
    assert not any(node.op == "BatchNormalization" for node in prepared.model.graph.nodes)
    held = {t.name: t for t in prepared.model.graph.initializers}
    rng = np.random.default_rng(5)
    values = {
        name: (np.array(held[name].constant) + 0.1 * rng.standard_normal(held[name].shape)).astype(np.float32)
        for name in prepared.parameters
    }
    for name, value in values.items():
        held[name].values = value
    wanted = Session(prepared.model, outputs=["y"]).run(FEEDS)["y"]
    write_back(student, prepared, values)
    np.testing.assert_allclose(Session(student).run(FEEDS)["y"], wanted, rtol=1e-4, atol=1e-5)
    live = prepare(student, FEEDS, Choice(), live_bn=True)
    assert live.statistics == ("mu", "v")


def test_zeros_stay_zeros_in_a_sparse_student() -> None:
    student = classifier()
    for tensor in student.graph.initializers:
        if tensor.name == "second.weight":
            values = np.array(tensor.constant)
            values.ravel()[::2] = 0
            tensor.values = values
    assert prepare(student, FEEDS, Choice()).masked == ("second.weight",)
    assert prepare(student, FEEDS, Choice(), sparse="fill").masked == ()
    prepared = prepare(student, FEEDS, Choice(), sparse="keep")
    held = next(t for t in prepared.model.graph.initializers if t.name == "second.weight")
    before = Session(prepared.model, outputs=["y"]).run(FEEDS)["y"]
    held.values = np.where(held.constant == 0, np.float32(9), held.constant)  # what a mask hides, nobody sees
    np.testing.assert_array_equal(Session(prepared.model, outputs=["y"]).run(FEEDS)["y"], before)


def test_local_functions_are_refused() -> None:
    proto = onnx.load_from_string(around(one("Relu")).to_bytes())
    proto.functions.append(
        helper.make_function(
            "own", "f", ["i"], ["o"], [helper.make_node("Relu", ["i"], ["o"])], [helper.make_opsetid("", 17)]
        )
    )
    proto.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(PassError, match="local functions"):
        prepare(ir.from_bytes(proto.SerializeToString()), FEEDS, Choice())


def test_weights_that_callers_may_override_are_no_parameters() -> None:
    proto = onnx.load_from_string(classifier().to_bytes())
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    with pytest.raises(PassError, match="no weights") as caught:
        prepare(ir.from_bytes(proto.SerializeToString()), FEEDS, Choice())
    assert "clean" in caught.value.hint


def test_shape_arithmetic_is_computed_beforehand() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["zero"] = np.asarray([0], np.int64)
        weights["rest"] = np.asarray([-1], np.int64)
        weights["four"] = np.asarray([CHANNELS, SIDE, SIDE], np.int64)
        return [
            helper.make_node("Shape", ["a"], ["shape"], "shape"),
            helper.make_node("Gather", ["shape", "zero"], ["n"], "gather"),
            helper.make_node("Concat", ["n", "rest"], ["flat_size"], "join", axis=0),
            helper.make_node("Reshape", ["a", "flat_size"], ["flat_a"], "flatten"),
            helper.make_node("Concat", ["n", "four"], ["full"], "join2", axis=0),
            helper.make_node("Reshape", ["flat_a", "full"], ["b"], "it"),
        ]

    prepared = prepare(around(body), FEEDS, Choice())
    assert {"Shape", "Concat", "Gather"}.isdisjoint(node.op for node in prepared.model.graph.nodes)


def test_a_bias_that_is_added_is_trained() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["w"] = rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        weights["added"] = rng.standard_normal((1, CHANNELS, 1, 1)).astype(np.float32)
        weights["table"] = rng.standard_normal((1, CHANNELS, SIDE, SIDE)).astype(np.float32)
        return [
            helper.make_node("Conv", ["a", "w"], ["c"], "conv"),
            helper.make_node("Add", ["c", "added"], ["d"], "bias"),
            helper.make_node("Add", ["d", "table"], ["b"], "it"),
        ]

    found = prepare(around(body), FEEDS, Choice()).parameters
    assert "added" in found
    assert "table" not in found


def test_the_small_builder_makes_valid_models() -> None:
    build([helper.make_node("Relu", ["x"], ["y"])], {}, ["N", CHANNELS, SIDE, SIDE]).check()


@pytest.mark.parametrize("name", ["fashion_transformer", "fashion_hybrid"])
def test_attention_is_trained_whole(name: str) -> None:
    student = ir.load(MODELS / f"{name}.onnx")
    (port,) = student.signature.inputs
    feeds = {port.name: np.random.default_rng(2).standard_normal((2, *port.shape[1:])).astype(np.float32)}
    prepared = prepare(student, feeds, Choice())
    assert not prepared.problems
    layers = {
        tensor.name
        for node in student.graph.find("MatMul", "Gemm", "Conv", "LayerNormalization")
        for tensor in node.inputs[1:]
        if tensor.constant is not None
    }
    assert layers <= set(prepared.parameters)
    assert not {"token", "position"} & set(prepared.parameters)
