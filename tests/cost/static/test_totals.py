"""What a model costs, against counting by hand or by brute force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper

from graphopt import cost, ir

Dims = Sequence[int | str | None]
F, U8, I8, I32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
NUMPY: dict[int, Any] = {F: np.float32, U8: np.uint8, I8: np.int8, I32: np.int32, TensorProto.INT64: np.int64}


def build(
    nodes: list[NodeProto],
    inputs: dict[str, Dims],
    constants: Mapping[str, tuple[int, Sequence[int]]],
    domains: Sequence[str] = (),
    input_type: int = F,
) -> ir.Model:
    """A model that ends in `y`; constants are (type, dims) by name and hold ones."""
    initializers = [
        helper.make_tensor(name, kind, dims, np.ones(dims, NUMPY[kind]).tobytes(), raw=True)
        for name, (kind, dims) in constants.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, input_type, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", F, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def node(op: str, inputs: str, output: str = "y", **attrs: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=op.lower(), **attrs)


@pytest.mark.parametrize(
    ("attrs", "weight", "expected"),
    [
        ({}, (8, 6, 3, 3), 8 * 6 * 9 * 5 * 5),
        ({"group": 2}, (8, 3, 3, 3), 8 * 3 * 9 * 5 * 5),
        ({"group": 6}, (6, 1, 3, 3), 6 * 9 * 5 * 5),
        ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, (8, 6, 3, 3), 8 * 6 * 9 * 4 * 4),
        ({"dilations": [2, 2]}, (8, 6, 3, 3), 8 * 6 * 9 * 3 * 3),
    ],
)
def test_convolutions(attrs: dict[str, Any], weight: tuple[int, ...], expected: int) -> None:
    model = build([node("Conv", "x w", **attrs)], {"x": ["N", 6, "H", "W"]}, {"w": (F, weight)})
    assert cost.measure(model, {"x": (1, 6, 7, 7)}).macs == expected
    assert cost.measure(model, {"x": (3, 6, 7, 7)}).macs == 3 * expected


def test_a_transposed_convolution_costs_what_its_convolution_does() -> None:
    """Its multiply-accumulates are those of the strided convolution from its output to its input."""
    constants = {"w": (F, (6, 4, 3, 3))}
    model = build([node("ConvTranspose", "x w", strides=[2, 2], group=2)], {"x": [1, 6, 5, 5]}, constants)
    back = build([node("Conv", "x w", strides=[2, 2], group=2)], {"x": [1, 8, 11, 11]}, constants)
    assert cost.measure(model).macs == cost.measure(back).macs == 6 * 4 * 9 * 25


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3, 5)), ((4, 2, 3), (3, 5)), ((3,), (3, 5)), ((2, 3), (3,)), ((3,), (3,))]
)
def test_matrix_products_against_brute_force(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    counted = int(np.matmul(np.ones(a), np.ones(b)).sum())  # every product of ones adds one
    model = build([node("MatMul", "x w")], {"x": a}, {"w": (F, b)})
    assert cost.measure(model).macs == counted


@pytest.mark.parametrize("trans", [0, 1])
def test_gemm(trans: int) -> None:
    model = build([node("Gemm", "x w b", transA=trans)], {"x": [4, 4]}, {"w": (F, (4, 5)), "b": (F, (5,))})
    result = cost.measure(model)
    assert (result.macs, result.parameters) == (4 * 4 * 5, 25)


def quantised() -> ir.Model:
    """x -> Q -> DQ -> Conv with int8 weight and int32 bias behind DQs -> y."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "ws", "bz"], ["bd"], axis=0),
        node("Conv", "d wd bd"),
    ]
    constants = {
        "s": (F, ()),
        "z": (U8, ()),
        "w": (I8, (8, 3, 3, 3)),
        "ws": (F, (8,)),
        "wz": (I8, (8,)),
        "b": (I32, (8,)),
        "bz": (I32, (8,)),
    }
    return build(nodes, {"x": [1, 3, 6, 6]}, constants)


def test_quantising_leaves_parameters_and_macs_as_they_are() -> None:
    constants = {"w": (F, (8, 3, 3, 3)), "b": (F, (8,))}
    plain = cost.measure(build([node("Conv", "x w b")], {"x": [1, 3, 6, 6]}, constants))
    result = cost.measure(quantised())
    assert (result.macs, result.parameters) == (plain.macs, plain.parameters) == (8 * 27 * 16, 224)
    conv = next(layer for layer in cost.layers(quantised()) if layer.op == "Conv")
    assert conv.parameters == 224


def test_integer_operators() -> None:
    constants = {"w": (U8, (8, 3, 3, 3))}
    nodes = [node("ConvInteger", "x w", "i"), helper.make_node("Cast", ["i"], ["y"], to=F)]
    model = build(nodes, {"x": [1, 3, 6, 6]}, constants, input_type=U8)
    result = cost.measure(model)
    assert (result.macs, result.parameters) == (8 * 27 * 16, 216)


def test_unknown_operators_are_unknown_not_free() -> None:
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=4)
    model = build([lstm], {"x": [5, 1, 3]}, {"w": (F, (1, 16, 3)), "r": (F, (1, 16, 4))})
    result = cost.measure(model)
    assert (result.macs, result.unknown, result.parameters) == (None, ("LSTM",), 112)
    custom = build([node("Foo", "x", domain="my.dom")], {"x": [1, 2]}, {}, domains=["my.dom"])
    assert cost.measure(custom).unknown == ("my.dom:Foo",)


def test_what_is_known_is_counted_beside_what_is_not() -> None:
    nodes = [node("MatMul", "x w", "m"), node("Einsum", "m", equation="ij->ji")]
    result = cost.measure(build(nodes, {"x": [2, 3]}, {"w": (F, (3, 4))}))
    assert (result.macs, result.unknown) == (24, ("Einsum",))


def test_nodes_without_products_are_free() -> None:
    result = cost.measure(build([node("Relu", "x")], {"x": ["N", 3]}, {}))
    assert (result.macs, result.unknown, result.nodes) == (0, (), 1)


def test_sizes_computed_in_the_graph_are_measured() -> None:
    """The Conv input is as wide as the number of nonzeros of a live tensor: nothing can infer that."""
    nodes = [
        node("Abs", "x", "a"),
        node("NonZero", "a", "i"),  # [4, n]
        helper.make_node("Cast", ["i"], ["f"], to=F),
        node("Unsqueeze", "f axis", "u"),  # [1, 4, n]
        node("Conv", "u w"),
    ]
    model = build(nodes, {"x": [1, 2, 5, 3]}, {"axis": (TensorProto.INT64, (1,)), "w": (F, (6, 4, 1))})
    model.graph.initializers[0].values = np.array([0])
    assert cost.measure(model).macs == 6 * 4 * 30


def test_without_input_sizes_convolutions_are_unknown() -> None:
    model = build([node("Conv", "x w")], {"x": ["N", 3, "H", "W"]}, {"w": (F, (4, 3, 3, 3))})
    result = cost.measure(model)
    assert (result.macs, result.unknown) == (None, ("Conv",))


def branch(op: str) -> GraphProto:
    return helper.make_graph([node(op, "x w", "b")], op, [], [helper.make_tensor_value_info("b", F, None)])


def test_subgraphs_are_counted_as_nodes_but_their_work_is_unknown() -> None:
    split = helper.make_node("If", ["c"], ["y"], then_branch=branch("MatMul"), else_branch=branch("Add"))
    nodes = [node("ReduceSum", "x", "s", keepdims=0), node("Cast", "s", "c", to=TensorProto.BOOL), split]
    result = cost.measure(build(nodes, {"x": [3, 3]}, {"w": (F, (3, 3))}))
    assert (result.nodes, result.macs, result.unknown, result.parameters) == (5, None, ("MatMul",), 9)


def test_constant_nodes_are_weights_but_not_computing_nodes() -> None:
    weight = helper.make_tensor("v", F, (3, 4), np.ones((3, 4), np.float32).tobytes(), raw=True)
    shape = helper.make_tensor("t", TensorProto.INT64, [2], [4, -1])
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Constant", [], ["s"], value=shape),
        node("MatMul", "x w", "m"),
        node("Reshape", "m s"),
    ]
    model = build(nodes, {"x": [2, 3]}, {})
    result = cost.measure(model)
    assert (result.nodes, result.constants, result.parameters, result.macs) == (2, 2, 12, 24)


def test_a_shared_weight_counts_once_for_the_model_and_for_each_layer() -> None:
    nodes = [node("MatMul", "x w", "m"), node("MatMul", "m w")]
    model = build(nodes, {"x": [2, 3]}, {"w": (F, (3, 3))})
    assert cost.measure(model).parameters == 9
    assert [layer.parameters for layer in cost.layers(model)] == [9, 9]


def test_layers_tell_shapes_in_order() -> None:
    nodes = [node("Conv", "x w", "c"), node("Relu", "c")]
    model = build(nodes, {"x": ["N", 3, "H", "W"]}, {"w": (F, (4, 3, 3, 3))})
    conv, relu = cost.layers(model, {"x": (1, 3, 6, 6)})
    assert conv == cost.Layer("conv", "Conv", ((1, 3, 6, 6), (4, 3, 3, 3)), ((1, 4, 4, 4),), 108, 108 * 16)
    assert (relu.op, relu.macs, relu.parameters, relu.inputs) == ("Relu", 0, 0, ((1, 4, 4, 4),))


def test_no_layer_stands_above_the_roof() -> None:
    """A roof that was measured under load is raised to what layers reach, and no higher."""
    low = cost.Peaks(macs_per_second=1e9, bytes_per_second=1e9)
    layers = [(4_000_000, 1_000_000, 1.0), (1_000, 8_000_000, 2.0), (100, 10, 1.0), (0, 10, 1e-6)]
    raised = low.raised(layers)
    assert (raised.macs_per_second, raised.bytes_per_second) == (4e9, 4e9)
    for macs, moved, ms in layers[:3]:
        roof = min(raised.macs_per_second, raised.bytes_per_second * macs / moved)
        assert 1e3 * macs / ms <= roof * (1 + 1e-12)
    assert low.raised([(10, 10, 1.0)]) == low
