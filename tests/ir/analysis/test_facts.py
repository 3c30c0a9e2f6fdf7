"""What is told without running agrees with ONNX's inference, with the runtime, and with what is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from graphopt import ir
from graphopt.ir.analysis.facts import gather_facts
from graphopt.ir.declared import declared_shape
from tests.corpus import NUMERIC, ROUND_TRIP, Case, case

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "models"
REAL = sorted([*LIGHT.glob("*.onnx"), *CORPUS.glob("*.onnx")])


def inferred_by_onnx(proto: onnx.ModelProto) -> dict[str, ir.Shape]:
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes: dict[str, ir.Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
    for info in (*graph.value_info, *graph.input, *graph.output):
        shape = declared_shape(info.type)
        if shape is not None:
            shapes.setdefault(info.name, shape)
    return shapes


def assert_tells_as_much(ours: dict[str, ir.Shape], theirs: dict[str, ir.Shape]) -> None:
    for name, shape in theirs.items():
        assert name in ours and len(ours[name]) == len(shape), name
        for mine, other in zip(ours[name], shape, strict=True):
            assert mine == other or not isinstance(other, int), name


def has_defaults(known: Case) -> bool:
    """ONNX takes the default of an input for its value, which callers may override."""
    return bool(ir.from_bytes(known.build().SerializeToString()).signature.defaults)


@pytest.mark.parametrize("known", [k for k in NUMERIC if k.valid and not has_defaults(k)], ids=str)
def test_no_less_is_told_than_by_onnx(known: Case) -> None:
    proto = known.build()
    ours = ir.infer_shapes(ir.from_bytes(proto.SerializeToString()))
    assert_tells_as_much(ours, inferred_by_onnx(proto))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_no_less_is_told_of_real_models(path: Path) -> None:
    assert_tells_as_much(ir.infer_shapes(ir.load(path)), inferred_by_onnx(onnx.load(path)))


@pytest.mark.parametrize("known", ROUND_TRIP, ids=str)
def test_every_construct_has_facts(known: Case) -> None:
    model = ir.from_bytes(known.build().SerializeToString())
    before = model.snapshot()
    shapes = ir.infer_shapes(model)
    facts = gather_facts(model)
    for tensor in model.graph.initializers:
        if isinstance(tensor, ir.Constant):
            assert shapes[tensor.name] == facts.static_shape(tensor) == tensor.shape
            assert facts.dtype(tensor) == tensor.dtype
    assert model.snapshot() == before


RUNNING = [k for k in NUMERIC if k.runs and not k.random and k.name != "huge_constant_of_shape"]


@pytest.mark.parametrize("known", RUNNING, ids=str)
def test_sizes_given_for_inputs_reach_what_the_runtime_makes(known: Case) -> None:
    """With bindings nothing is told that a run at these sizes contradicts."""
    proto = known.build()
    model = ir.from_bytes(proto.SerializeToString())
    feeds = known.feeds(np.random.default_rng(0))
    shapes = ir.infer_shapes(model, {name: np.shape(value) for name, value in feeds.items()})
    facts = gather_facts(model, {name: np.shape(value) for name, value in feeds.items()})
    tensors = [t for n in model.graph.nodes for t in n.outputs if t.name and t.name in shapes]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    content = model.to_bytes([tensor.name for tensor in tensors])
    session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
    values = session.run([t.name for t in tensors], feeds) if tensors else []
    for tensor, value in zip(tensors, values, strict=True):
        if not isinstance(value, np.ndarray):
            continue
        told = shapes[tensor.name]
        assert len(told) == value.ndim
        pairs = zip(told, value.shape, strict=True)
        assert all(mine == size or not isinstance(mine, int) for mine, size in pairs)
        known_value = facts.known_value(tensor)
        if known_value is not None:
            assert known_value.dtype == value.dtype and np.array_equal(known_value, value)


def dynamic(*nodes: onnx.NodeProto, declared: dict[str, list[Any]] | None = None) -> ir.Model:
    """x [N, 3, H, W] -> nodes -> y."""
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    infos = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in (declared or {}).items()]
    graph = helper.make_graph(list(nodes), "g", ports[:1], ports[1:], value_info=infos)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    return ir.from_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_bindings_settle_symbols_wherever_they_are_declared() -> None:
    model = dynamic(
        helper.make_node("Secret", ["x"], ["h"], domain="custom"),
        helper.make_node("Relu", ["h"], ["y"]),
        declared={"h": ["N", 7, "H", "other"]},
    )
    assert ir.infer_shapes(model)["y"] == ("N", 7, "H", "other")
    assert ir.infer_shapes(model, {"x": (2, 3, 8, 9)})["y"] == (2, 7, 8, "other")
    assert model.signature.inputs[0].shape == ("N", 3, "H", "W")


def test_what_nobody_declared_of_an_unknown_operator_is_missing() -> None:
    model = dynamic(
        helper.make_node("Secret", ["x"], ["h"], domain="custom"), helper.make_node("Relu", ["h"], ["y"])
    )
    assert set(ir.infer_shapes(model, {"x": (2, 3, 8, 9)})) == {"x"}


def test_shapes_flow_through_bodies_and_functions() -> None:
    assert ir.infer_shapes(ir.from_bytes(case("if_live").build().SerializeToString()))
    proto = case("local_function").build()
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = ir.from_bytes(proto.SerializeToString())
    shapes = ir.infer_shapes(model, {"x": (5, 4)})
    assert shapes[model.graph.outputs[0].name] == (5, 4)


def test_sizes_computed_in_the_graph_settle_what_follows() -> None:
    """Flatten written as Shape, Gather, Unsqueeze, Concat, Reshape."""
    zero = helper.make_tensor("", TensorProto.INT64, [], [0])
    axis = helper.make_tensor("", TensorProto.INT64, [1], [0])
    rest = helper.make_tensor("", TensorProto.INT64, [1], [-1])
    model = dynamic(
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("Constant", [], ["axis"], value=axis),
        helper.make_node("Constant", [], ["rest"], value=rest),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    )
    assert ir.infer_shapes(model)["y"] == ("N", None)
    assert ir.infer_shapes(model, {"x": (2, 3, 4, 5)})["y"] == (2, 60)


def test_a_model_that_contradicts_itself_is_read_all_the_same() -> None:
    model = dynamic(
        helper.make_node("Conv", ["x", "x"], ["h"]),
        helper.make_node("Reshape", ["h"], ["r"]),
        helper.make_node("Shape", [], ["s"]),
        helper.make_node("MatMul", ["r", "s", "r"], ["y"]),
    )
    assert ir.infer_shapes(model)["x"] == ("N", 3, "H", "W")
