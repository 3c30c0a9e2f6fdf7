"""The options of ``clean``."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.passes.clean import Clean
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs


def model_of(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    opset: int = 17,
    listed: tuple[str, ...] = (),
) -> ir.Model:
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, [1, 4])]
    inputs += [value(name, TensorProto.FLOAT, constants[name].shape) for name in listed]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [value("y", TensorProto.FLOAT, [1, None])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return ir.from_bytes(made.SerializeToString())


def ops(model: ir.Model, **options: object) -> list[str]:
    Clean(**options).run(model, Context(Inputs(model)))
    return [node.op for node in model.graph.nodes]


def expanded() -> ir.Model:
    """A row of 4 stretched to 4000: 16 KB from 16 bytes."""
    nodes = [
        helper.make_node("Expand", ["row", "shape"], ["wide"]),
        helper.make_node("MatMul", ["x", "wide"], ["y"]),
    ]
    return model_of(nodes, {"row": np.ones((4, 1), np.float32), "shape": np.array([4, 1001])})


def test_folding_stops_where_the_file_would_grow() -> None:
    assert ops(expanded()) == ["Expand", "MatMul"]
    assert ops(expanded(), fold_limit=1000) == ["Expand", "MatMul"]
    assert ops(expanded(), fold_limit=20000) == ["MatMul"]


def test_activations_stay_spelled_out_on_request() -> None:
    data = _hard_swish().SerializeToString()
    assert "Clip" not in ops(ir.from_bytes(data))
    assert "Clip" in ops(ir.from_bytes(data), patterns=False)


def test_defaults_of_inputs_are_constants_only_when_frozen() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Mul", ["m", "s"], ["y"])]
    constants = {"w": np.eye(4, dtype=np.float32), "s": np.full(4, 2, np.float32)}
    assert ops(model_of(nodes, constants, listed=("w", "s"))) == ["MatMul", "Mul"]
    model = model_of(nodes, constants, listed=("w", "s"))
    assert ops(model, freeze=True) == ["MatMul"]
    assert [tensor.name for tensor in model.graph.inputs] == ["x"]
    np.testing.assert_array_equal(model.graph.initializers[0].constant, 2 * np.eye(4))


def test_the_opset_is_raised_and_never_lowered() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(nodes, {}, opset=12)
    ops(model, opset=15)
    assert model.opset == 15
    ops(model, opset=13)
    assert model.opset == 15


def test_a_raised_opset_lets_a_newer_operator_in() -> None:
    model = ir.from_bytes(_hard_swish(opset=12).SerializeToString())
    assert "HardSwish" in ops(model, opset=14)


@pytest.mark.parametrize("options", [{"fold_limit": -1}, {"opset": 3}, {"patterns": "perhaps"}])
def test_nonsense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Clean(**options)


def _hard_swish(opset: int = 13) -> onnx.ModelProto:
    """x * clip(x + 3, 0, 6) / 6, as Paddle writes it."""
    nodes = [
        helper.make_node("Add", ["x", "three"], ["a"]),
        helper.make_node("Clip", ["a", "zero", "six"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["m"]),
        helper.make_node("Div", ["m", "six"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    numbers = {"zero": 0.0, "three": 3.0, "six": 6.0}
    constants = [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items()]
    ports = [value("x", TensorProto.FLOAT, [1, 4])], [value("y", TensorProto.FLOAT, [1, 4])]
    graph = helper.make_graph(nodes, "g", *ports, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
