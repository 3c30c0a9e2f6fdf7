"""Planted errors: whatever a pass can get wrong is seen from outside, and what is right is not blamed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError, PassError, VerificationError
from tests.fuzz import yardstick
from tests.fuzz.graphs.recipe import Graph, Recipe, build
from tests.fuzz.minimise import minimise
from tests.fuzz.oracle import Verdict, judge
from tests.fuzz.specs import Spec

EXACT = Spec("anything", exact=True)
CLOSE = Spec("anything", bound=0.1)
LOOSE = Spec("anything")
RECIPE = Recipe(
    1,
    (3, 6, 6),
    1,
    True,
    17,
    8,
    "float32",
    ((0, "conv"), (1, "residual"), (2, "softmax"), (3, "flatten")),
    "classifier",
    (),
)
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A small network."""
    return build(RECIPE)


def writing(change: Change) -> Callable[..., None]:
    """What stands in for graphopt: it writes the model changed, and a plan."""

    def optimize(model: Path, passes: str, *, output: Path, **flags: Any) -> None:
        changed = onnx.load(model)
        change(changed)
        onnx.save(changed, output)
        if "plan_out" in flags:
            flags["plan_out"].write_text("{}")

    return optimize


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[..., None]:
    def optimize(*_: Any, **__: Any) -> None:
        raise error from cause

    return optimize


def scale_weight(model: onnx.ModelProto, factor: float = 1.001) -> None:
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = (numpy_helper.to_array(tensor) * factor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def forget_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            values = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def divide_by_nothing(model: onnx.ModelProto) -> None:
    last = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if name == last else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
    model.graph.node.append(helper.make_node("Div", ["inner", "nothing"], [last], "div"))


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        node.input[:] = ["image" if name == "x" else name for name in node.input]


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def cut_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = numpy_helper.to_array(tensor)[:, :-1]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def drop_node(model: onnx.ModelProto) -> None:
    del model.graph.node[0]


def fold_wrong_batch(model: onnx.ModelProto) -> None:
    """Write the batch of one sample into a Reshape: it runs as long as nobody asks for more."""
    flat = next(node for node in model.graph.node if node.op_type in ("Flatten", "Reshape"))
    flat.op_type = "Reshape"
    del flat.attribute[:]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1], np.int64), "sizes"))
    flat.input[:] = [flat.input[0], "sizes"]


@pytest.mark.parametrize(
    ("change", "spec", "kind"),
    [
        (scale_weight, EXACT, "wrong"),
        (forget_weights, EXACT, "wrong"),
        (forget_weights, CLOSE, "wrong"),
        (forget_weights, Spec("quant", bound=0.1), "wrong"),
        (divide_by_nothing, LOOSE, "wrong"),
        (rename_input, LOOSE, "signature"),
        (fix_batch, EXACT, "signature"),
        (cut_weight, LOOSE, "invalid"),
        (drop_node, LOOSE, "invalid"),
        (fold_wrong_batch, EXACT, "invalid"),
    ],
)
def test_a_wrong_file_is_caught(graph: Graph, tmp_path: Path, change: Change, spec: Spec, kind: str) -> None:
    assert judge(graph, spec, tmp_path, optimize=writing(change)).kind == kind


@pytest.mark.parametrize(
    ("error", "cause", "kind"),
    [
        (ZeroDivisionError("by nothing"), None, "crash"),
        (PassError("the pass x failed: KeyError: 3"), KeyError(3), "crash"),
        (PassError("the node conv has no weights"), None, "refused"),
        (VerificationError("the outputs moved by 0.3"), None, "blamed"),
        (ModelError("the model reads a file that is not there"), None, "refused"),
        (ModelError("Traceback\n  line 3"), None, "crash"),
        (ModelError(""), None, "crash"),
    ],
)
def test_how_a_run_ends_is_told_apart(
    graph: Graph, tmp_path: Path, error: Exception, cause: Exception | None, kind: str
) -> None:
    assert judge(graph, LOOSE, tmp_path, optimize=raising(error, cause)).kind == kind


def test_a_run_without_end_is_caught(graph: Graph, tmp_path: Path) -> None:
    def turn(*_: Any, **__: Any) -> None:
        while True:
            pass

    assert judge(graph, LOOSE, tmp_path, optimize=turn, seconds=0.2).kind == "hang"


def test_a_run_that_writes_nothing_is_caught(graph: Graph, tmp_path: Path) -> None:
    assert judge(graph, LOOSE, tmp_path, optimize=lambda *_, **__: None).kind == "invalid"


def test_a_plan_that_does_something_else_is_caught(graph: Graph, tmp_path: Path) -> None:
    def optimize(model: Path, passes: str, *, output: Path, **flags: Any) -> None:
        writing(scale_weight if "plan" in flags else lambda model: None)(
            model, passes, output=output, **flags
        )

    verdict = judge(graph, LOOSE, tmp_path, replay=True, optimize=optimize)
    assert (verdict.kind, verdict.key) == ("replay", "other graph")


@pytest.mark.parametrize("spec", [EXACT, CLOSE, LOOSE], ids=["exact", "close", "loose"])
def test_what_is_right_is_not_blamed(graph: Graph, tmp_path: Path, spec: Spec) -> None:
    assert judge(graph, spec, tmp_path, replay=True, optimize=writing(lambda model: None)) == Verdict("ok")


def test_rounding_is_not_blamed(tmp_path: Path) -> None:
    """A sum of large numbers that nearly cancel moves with the order it is taken in."""
    chaotic = dataclasses.replace(RECIPE, steps=((0, "conv"), (1, "deep_chain"), (2, "layer_norm")))

    def last_bits(model: onnx.ModelProto) -> None:
        scale_weight(model, 1 + 2**-22)

    assert judge(build(chaotic), EXACT, tmp_path, optimize=writing(last_bits)).kind == "ok"


def test_a_small_loss_is_allowed_where_the_spec_allows_it(graph: Graph, tmp_path: Path) -> None:
    assert judge(graph, CLOSE, tmp_path, optimize=writing(scale_weight)).kind == "ok"


def test_what_plain_storing_loses_is_not_blamed() -> None:
    samples = [{"x": np.array([[0.0, 0.3, 0.6, 1.0]], np.float32)}]
    far = [{"x": np.full((1, 4), 4.0, np.float32)}]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    node = helper.make_node("Relu", ["x"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), ir_version=8)
    lost = yardstick.shares_of_storing(model, samples, far, [[far[0]["x"]]])
    assert lost == [pytest.approx(1.5**2)]  # three quarters at the input, and as much at the output
    near = yardstick.shares_of_storing(model, samples, samples, [[samples[0]["x"]]])
    assert near == [pytest.approx((2 * 0.5 / 255) ** 2 / 1.45, rel=1e-3)]  # 76.5, 153 and 255 of 255


def test_the_smallest_failing_recipe_is_found(graph: Graph, tmp_path: Path) -> None:
    def optimize(model: Path, passes: str, *, output: Path, **_: Any) -> None:
        if any(node.op_type == "Softmax" for node in onnx.load(model).graph.node):
            raise RuntimeError("I cannot stand Softmax")
        shutil.copy(model, output)

    verdict = judge(graph, LOOSE, tmp_path, optimize=optimize)
    smallest = minimise(graph, LOOSE, verdict, tmp_path, optimize)
    assert [name for _, name in smallest.recipe.steps] == ["softmax"]
    assert smallest.recipe.head == "plain"
    assert not smallest.recipe.dynamic
