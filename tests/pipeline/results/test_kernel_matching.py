"""Which node a kernel stands for, and what is said about the time of layers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import cost, ir, runtime
from graphopt.analysis.layer_costs import layer_costs
from graphopt.cost import Layer, Peaks
from graphopt.pipeline.results.kernel_matching import Timed, attribute, time_nodes
from graphopt.runtime import Kernel

PEAKS = Peaks(macs_per_second=1e9, bytes_per_second=1e9)


def kernel(name: str, op: str, microseconds: float) -> Kernel:
    return Kernel(name, op, np.full(20, microseconds))


@pytest.fixture
def model(fakes: SimpleNamespace) -> ir.Model:
    """conv (c) -> relu (r) -> copy (i) -> pool (p) -> flat (f) -> gemm (y)."""
    return ir.from_bytes(fakes.build().SerializeToString())


def test_a_blocked_kernel_counts_for_the_convolution_it_begins_with(model: ir.Model) -> None:
    kernels = [
        kernel("ReorderInput", "ReorderInput", 1),
        kernel("r_nchwc", "Conv", 10),
        kernel("p_nchwc_token_7", "GlobalAveragePool", 2),
        kernel("gemm/MatMulAddFusion", "Gemm", 4),
        kernel("gemm", "Gemm", 4),
    ]
    timed = attribute(kernels, list(model.graph.nodes))
    assert timed.milliseconds == pytest.approx({0: 0.010, 3: 0.002, 5: 0.004})
    assert timed.absorbed == {0: (1,)}
    assert timed.other == pytest.approx({"ReorderInput": 0.001, "Gemm": 0.004})
    assert timed.total == pytest.approx(0.021)


def test_nodes_with_kernels_of_their_own_are_not_absorbed(model: ir.Model) -> None:
    timed = attribute([kernel("c", "Conv", 5), kernel("r", "Conv", 7)], list(model.graph.nodes))
    assert timed.milliseconds == pytest.approx({0: 0.005, 1: 0.007})
    assert not timed.absorbed


def test_every_node_of_a_real_run_is_told(model: ir.Model) -> None:
    feeds = {"x": np.ones((1, 2, 4, 4), np.float32)}
    timed = time_nodes(model, feeds, seconds=0.0)
    ops = {model.graph.nodes[index].op for index in timed.milliseconds}
    assert {"Conv", "Gemm"} <= ops <= {node.op for node in model.graph.nodes}
    assert [node.name for node in model.graph.nodes][:2] == ["conv", "relu"], "the model keeps its names"


def test_nodes_without_names_and_in_branches_are_told() -> None:
    scale = numpy_helper.from_array(np.float32([2.0]), "two")
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["x"], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)],
        )
        for op in ("Relu", "Sigmoid")
    ]
    nodes = [
        helper.make_node("If", ["c"], ["z"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Mul", ["z", "two"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [64]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])],
        [scale],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = ir.from_bytes(proto.SerializeToString())
    feeds = {"x": np.ones(64, np.float32), "c": np.array(True)}
    timed = time_nodes(model, feeds, seconds=0.0)
    layers = cost.layers(model)
    assert {layers[index].op for index in timed.milliseconds} == {"If", "Mul", "Relu"}
    inner = layer_costs(layers, timed, PEAKS, inner=2)
    outer = sum(layer.share or 0 for layer in inner[:2])
    assert outer == pytest.approx(1.0), "the branch's time is part of the If's"


def layer(op: str, inputs: tuple[int, ...], weight: tuple[int, ...], outputs: tuple[int, ...]) -> Layer:
    macs = int(np.prod(outputs)) * int(np.prod(weight[1:])) if weight else 0
    shapes = (inputs, weight) if weight else (inputs,)
    return Layer(op.lower(), op, shapes, (outputs,), int(np.prod(weight or (0,))), macs)


@pytest.mark.parametrize(
    ("one", "hint"),
    [
        (layer("Conv", (1, 64, 9, 9), (64, 64, 3, 3), (1, 64, 9, 9)), "arithmetic: prune, lowrank or quant"),
        (layer("Conv", (1, 3, 9, 9), (32, 3, 3, 3), (1, 32, 9, 9)), "arithmetic: prune or quant"),
        (layer("Conv", (1, 64, 9, 9), (64, 1, 1, 1), (1, 64, 9, 9)), "memory: prune"),
        (layer("Conv", (1, 64, 9, 9), (63, 64, 3, 3), (1, 63, 9, 9)), "odd width"),
        (layer("Relu", (1, 64, 9, 9), (), (1, 64, 9, 9)), "fewer channels before it"),
    ],
)
def test_hints(one: Layer, hint: str) -> None:
    [found] = layer_costs([one], Timed({0: 1.0}), PEAKS)
    assert hint in found.hint
    assert found.share == 1.0
    assert found.bytes == 4 * sum(int(np.prod(shape)) for shape in (*one.inputs, *one.outputs) if shape)


def test_what_takes_no_time_gets_no_hint() -> None:
    layers = [layer("Conv", (1, 64, 9, 9), (64, 64, 3, 3), (1, 64, 9, 9)) for _ in range(2)]
    first, second = layer_costs(layers, Timed({0: 100.0, 1: 1.0}), PEAKS)
    assert first.hint and not second.hint
    assert second.efficiency == 1.0, "no layer is quicker than the best"


def test_without_times_layers_are_counted_alone() -> None:
    [found] = layer_costs([layer("Conv", (1, 4, 2, 2), (4, 4, 1, 1), (1, 4, 2, 2))])
    assert (found.latency_ms, found.share, found.bound, found.hint) == (None, None, "", "")


def test_a_profile_tells_whole_kernels(model: ir.Model) -> None:
    kernels = runtime.profile(model, {"x": np.ones((1, 2, 4, 4), np.float32)}, seconds=0.0)
    assert {"Conv", "Gemm"} <= {kernel.op for kernel in kernels}
    assert all(0 <= kernel.typical < 1e6 and len(kernel.microseconds) >= 3 for kernel in kernels)
