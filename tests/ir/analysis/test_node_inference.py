"""Sizes that inference must leave open, since runtimes round them otherwise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.errors import ModelError
from graphopt.runtime import Session

SIZES = (1, 1, 6, 7)


def resized(op: str, opset: int, scales: list[float], axes: list[int] | None = None) -> onnx.ModelProto:
    """A Resize or Upsample of x[1,1,6,7] by constant scales."""
    given = numpy_helper.from_array(np.array(scales, np.float32), "scales")
    inputs = ["x", "", "scales"] if op == "Resize" and opset >= 11 else ["x", "scales"]
    node = helper.make_node(op, inputs, ["y"], mode="nearest", **({"axes": axes} if axes else {}))
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SIZES)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", ports, outputs, [given])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize(
    ("op", "opset", "scales", "axes", "known"),
    [
        ("Resize", 13, [1.0, 1.0, 1.5, 2.0], None, (1, 1, 9, 14)),
        ("Resize", 13, [1.0, 1.0, 1.6666666, 2.0], None, (1, 1, None, 14)),
        ("Resize", 10, [1.0, 1.0, 1.6666666, 2.0], None, (1, 1, None, 14)),
        ("Resize", 18, [2.0, 1.6666666], [3, 2], (1, 1, None, 14)),
        ("Upsample", 9, [1.0, 1.0, 1.6666666, 2.0], None, (1, 1, None, 14)),
    ],
)
def test_a_size_that_depends_on_the_precision_is_left_open(
    op: str, opset: int, scales: list[float], axes: list[int] | None, known: tuple[int | None, ...]
) -> None:
    proto = resized(op, opset, scales, axes)
    shape = ir.infer_shapes(ir.from_bytes(proto.SerializeToString()))["y"]
    assert tuple(size if isinstance(size, int) else None for size in shape) == known
    made = Session(proto.SerializeToString()).run({"x": np.zeros(SIZES, np.float32)})["y"]
    assert all(size in (None, real) for size, real in zip(known, made.shape, strict=True))


def test_a_resize_of_what_has_no_known_rank() -> None:
    proto = resized("Resize", 13, [1.0, 1.0, 1.6666666, 2.0])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    shape = ir.infer_shapes(ir.from_bytes(proto.SerializeToString())).get("y", ())
    assert not any(isinstance(size, int) for size in shape)


def foreign_identity(inside: str = "") -> onnx.ModelProto:
    """An EyeLike of what an unknown operator makes, at once or in the branches of an If."""
    eye = helper.make_node("EyeLike", ["c"], ["e"], dtype=TensorProto.FLOAT)
    made = [helper.make_node("Custom", ["x"], ["c"], domain="com.example")]
    if inside:
        branches = {
            name: helper.make_graph([eye], name, [], [helper.make_empty_tensor_value_info("e")])
            for name in ("then_branch", "else_branch")
        }
        eye = helper.make_node(inside, ["condition"], ["e"], **branches)
    made += [eye, helper.make_node("MatMul", ["x", "e"], ["y"])]
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 4))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        made, "g", ports, outputs, [numpy_helper.from_array(np.array(True), "condition")]
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("inside", ["", "If"])
def test_operators_that_onnx_cannot_follow_without_types(inside: str) -> None:
    """Without care onnx 1.23 ends the process here."""
    model = ir.from_bytes(foreign_identity(inside).SerializeToString())
    assert "y" not in ir.infer_shapes(model)
    with pytest.raises(ModelError, match="'EyeLike' reads a tensor of unknown type"):
        ir.convert_opset(model, 21)
