"""Models that are damaged, extreme or beyond the runtime: each runs, or ends in one sentence of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import graphopt
from graphopt import ir
from graphopt.errors import GraphoptError, ModelError
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.manager import Manager
from graphopt.pipeline.spec.arrange import arrange
from graphopt.pipeline.spec.recipe import turns_of
from graphopt.pipeline.spec.registry import passes

EVERY_PASS = (
    *("clean,fold-bn", "prune:ratio=0.5", "quant", "lowrank:energy=0.99", "sparsify", "cast"),
    *("quant:mode=dynamic", "quant:mode=weights"),
)
WEIGHT = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)


def model(
    nodes: Sequence[NodeProto],
    weights: Sequence[TensorProto] = (),
    given: Sequence[int] = (1, 4),
    made: Sequence[int] = (1, 4),
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        list(weights),
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 23 else 11)


def node(op: str, inputs: str, output: str, name: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], name or output, **attributes)


def constant(values: np.ndarray, name: str) -> TensorProto:
    return numpy_helper.from_array(values, name)


def product(weight: TensorProto) -> ModelProto:
    return model([node("MatMul", f"x {weight.name}", "a"), node("Relu", "a", "y")], [weight])


def optimized(proto: ModelProto, tmp_path: Path, spec: str = "clean", **flags: Any) -> graphopt.Result:
    path = tmp_path / "in.onnx"
    path.write_bytes(proto.SerializeToString())
    return graphopt.optimize(path, spec, latency=False, threads=1, **flags)


def spoiled(value: float) -> TensorProto:
    values = WEIGHT.copy()
    values[1, 2] = value
    return constant(values, "w")


def test_nan_weights_are_named(tmp_path: Path) -> None:
    said = optimized(product(spoiled(np.nan)), tmp_path).report.warnings
    assert any("the weight 'w' holds 1 NaN" in text for text in said)
    assert any("cannot be judged" in text for text in said)


def test_infinite_masks_are_no_nan(tmp_path: Path) -> None:
    mask = np.array([[0, -np.inf, np.inf, 0]], np.float32)
    proto = model([node("Add", "x mask", "a"), node("Softmax", "a", "y")], [constant(mask, "mask")])
    assert not any("NaN:" in text for text in optimized(proto, tmp_path).report.warnings)


@pytest.mark.parametrize("spec", EVERY_PASS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_pass_crashes_on_weights_that_are_no_numbers(spec: str, value: float, tmp_path: Path) -> None:
    try:
        result = optimized(product(spoiled(value)), tmp_path, spec)
    except GraphoptError as error:
        assert error.exit_code in (3, 4) and "NaN" in str(error)
        assert not isinstance(error.__cause__, (TypeError, ValueError, ArithmeticError, LookupError))
    else:
        assert any("cannot be judged" in text for text in result.report.warnings)


def tensor(dims: Sequence[int], kind: int = TensorProto.FLOAT, content: bytes = b"") -> TensorProto:
    return TensorProto(name="w", data_type=kind, dims=dims, raw_data=content)


REFUSED = {
    "too little data": (product(tensor([65536, 65536], content=bytes(64))), "too small"),
    "a negative size": (product(tensor([-4, 4], content=bytes(64))), "[Nn]egative"),
    "more elements than numbers": (product(tensor([2**33, 2**33])), "overflow"),
    "an unknown type": (product(tensor([4], 99, bytes(4))), "does not know element type 99"),
    "a cycle": (
        model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]),
        "the graph has a cycle through node 'a'",
    ),
    "a node that reads itself": (
        model([node("Add", "x a", "a"), node("Relu", "a", "y")]),
        "the graph has a cycle through node 'a'",
    ),
    "a tensor made twice": (
        model([node("Relu", "x", "a"), node("Neg", "x", "a", "second"), node("Relu", "a", "y")]),
        "makes 'a' a second time",
    ),
}


@pytest.mark.parametrize(("proto", "sentence"), REFUSED.values(), ids=REFUSED)
def test_broken_models_are_refused_in_a_sentence(proto: ModelProto, sentence: str, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ModelError, match=sentence) as caught:
        optimized(proto, tmp_path, "clean")
    assert caught.value.exit_code == 3 and not said


LONG = "n" * 10_000
EMPTY = constant(np.zeros((1, 0), np.float32), "e")
ODD = {
    "long names": model(
        [node("MatMul", f"x {LONG}w", f"{LONG}a", f"{LONG}m"), node("Relu", f"{LONG}a", "y", f"{LONG}r")],
        [constant(WEIGHT, f"{LONG}w")],
    ),
    "names given twice": model(
        [
            node("MatMul", "x w", "a", "same"),
            node("Identity", "a", "b", "same"),
            node("Relu", "b", "y", "same"),
        ],
        [constant(WEIGHT, "w")],
    ),
    "an empty operand": model(
        [node("Concat", "x e", "a", axis=1), node("MatMul", "a w", "y")], [EMPTY, constant(WEIGHT, "w")]
    ),
    "empty weights": model(
        [node("MatMul", "x w", "y")], [constant(np.zeros((4, 0), np.float32), "w")], made=(1, 0)
    ),
    "no filters": model(
        [node("Conv", "x w", "y")],
        [constant(np.zeros((0, 3, 1, 1), np.float32), "w")],
        (1, 3, 4, 4),
        (1, 0, 4, 4),
    ),
    "a type that the runtime lacks": model(
        [node("Identity", "c", "u"), node("Relu", "x", "y")],
        [TensorProto(name="c", data_type=TensorProto.COMPLEX64, dims=[2], float_data=[1, 2, 3, 4])],
    ),
    "a type of four bits": model(
        [node("Identity", "c", "u"), node("Relu", "x", "y")],
        [TensorProto(name="c", data_type=TensorProto.FLOAT4E2M1, dims=[2], raw_data=b"\1")],
        opset=23,
    ),
}


@pytest.mark.parametrize("spec", EVERY_PASS)
@pytest.mark.parametrize("proto", ODD.values(), ids=ODD)
def test_odd_models_go_through_every_pass_or_are_refused(
    proto: ModelProto, spec: str, tmp_path: Path
) -> None:
    try:
        result = optimized(proto, tmp_path, spec)
    except ModelError as error:  # a pass that has to run a model that onnxruntime does not load
        assert "onnxruntime cannot load" in str(error) and spec not in ("clean,fold-bn", "sparsify")
    else:
        result.model.check()


def test_weights_beyond_the_reach_of_32_bits(tmp_path: Path) -> None:
    """2.5 thousand million elements in a sparse file: nothing reads or copies them."""
    table = TensorProto(
        name="w", data_type=TensorProto.INT8, dims=[50_000, 50_000], data_location=TensorProto.EXTERNAL
    )
    table.external_data.add(key="location", value="huge.data")
    nodes = [node("Gather", "w i", "a"), node("Identity", "a", "b"), node("Cast", "b", "y", to=1)]
    proto = model(nodes, [table], made=(2, 50_000))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    (tmp_path / "in.onnx").write_bytes(proto.SerializeToString())
    with (tmp_path / "huge.data").open("wb") as file:
        file.truncate(50_000**2)
    huge = ir.load(tmp_path / "in.onnx")
    stages = arrange(turns_of("clean,fold-bn,sparsify,quant:mode=weights"), passes())
    outcome = Manager(stages, Inputs(huge, try_sizes=False), verify="structure").run(huge)
    assert huge.weight_bytes == 2_500_000_000 and len(outcome.records) == 4
    assert "Identity" not in {n.op for n in huge.graph.nodes}


def chain(count: int) -> ModelProto:
    names = ["x", *(f"t{i}" for i in range(count - 1)), "y"]
    ops = ("Neg", "Relu", "Identity")
    return model([node(ops[i % 3], names[i], names[i + 1]) for i in range(count)])


def test_a_long_graph_goes_through(tmp_path: Path) -> None:
    assert len(optimized(chain(1_500), tmp_path).model.graph.nodes) == 1_000


@pytest.mark.slow
def test_a_graph_of_a_hundred_thousand_nodes_goes_through(tmp_path: Path) -> None:
    result = optimized(chain(100_000), tmp_path, "clean,fold-bn", output=tmp_path / "out.onnx")
    assert len(result.model.graph.nodes) < 67_000
