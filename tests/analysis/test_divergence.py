"""Where two models part: planted differences are found, and what only looks like one is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphopt
from graphopt import data, ir
from graphopt.analysis.divergence import Divergence, divergence, match

SHAPES = {"x": (1, 4, 6, 6)}


def build(seed: int = 0) -> ir.Model:
    """x -> (conv -> bn -> relu) three times -> y, with the input of the third added to its output."""
    rng = np.random.default_rng(seed)
    nodes, weights, here = [], {}, "x"
    for i in range(3):
        weights[f"w{i}"] = rng.standard_normal((4, 4, 3, 3)) / 6
        for name, low, high in (("scale", 0.5, 2), ("bias", -1, 1), ("mean", -1, 1), ("var", 0.5, 2)):
            weights[f"{name}{i}"] = rng.uniform(low, high, 4)
        nodes += [
            helper.make_node("Conv", [here, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node(
                "BatchNormalization",
                [f"c{i}", f"scale{i}", f"bias{i}", f"mean{i}", f"var{i}"],
                [f"b{i}"],
                f"bn{i}",
            ),
            helper.make_node("Relu", [f"b{i}"], [f"r{i}"], f"relu{i}"),
        ]
        here = f"r{i}"
    nodes.append(helper.make_node("Add", ["r2", "r1"], ["y"], "add"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ir.from_bytes(proto.SerializeToString())


def apart(a: ir.Model, b: ir.Model) -> Divergence:
    samples = data.synthetic(a.signature.inputs, SHAPES, count=3, seed=0)
    return divergence(a, b, samples, SHAPES)


def test_equal_models_do_not_part() -> None:
    found = apart(build(), build())
    assert found.first is None and found.worst is None and found.unmatched == 0
    assert [one.tensor for one in found.tensors] == [
        "c0", "b0", "r0", "c1", "b1", "r1", "c2", "b2", "r2", "y",
    ]  # fmt: skip
    assert all(one.snr_db == 300 for one in found.tensors)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_changed_weight_is_found(layer: int) -> None:
    other = build()
    conv = next(node for node in other.graph.nodes if node.name == f"conv{layer}")
    other.graph.set_constant(conv, 1, conv.inputs[1].constant * np.float32(1.1))
    found = apart(build(), other)
    assert found.first is not None and found.worst is not None
    assert (found.first.tensor, found.first.node, found.first.op) == (f"c{layer}", f"conv{layer}", "Conv")
    assert found.first.snr_db == pytest.approx(20, abs=0.1)


def test_a_difference_in_the_last_node_is_found() -> None:
    other = build()
    add = next(other.graph.find("Add"))
    add.op = "Sub"
    found = apart(build(), other)
    assert found.first is not None and found.first.tensor == "y"


def test_folding_is_no_difference() -> None:
    model = build()
    folded = graphopt.optimize(model, "fold-bn", latency=False).model
    assert not list(folded.graph.find("BatchNormalization"))
    found = apart(model, folded)
    assert found.first is None
    assert {"b0", "b1", "b2", "y"} <= {one.tensor for one in found.tensors}


def test_a_wrong_fold_is_found_where_it_is() -> None:
    model = build()
    folded = graphopt.optimize(model, "fold-bn", latency=False).model
    conv = list(folded.graph.find("Conv"))[1]
    folded.graph.set_constant(conv, 1, conv.inputs[1].constant * np.float32(1.5))
    found = apart(model, folded)
    assert found.first is not None and found.first.node in ("bn1", "relu1")


def test_quantised_tensors_match_what_reads_them_back() -> None:
    model = build()
    # Quick, and with sums of 7-bit weights, which no processor clips.
    plain = "quant:measure=false:equalise=none:absorb=false:keep_noisy_float=false:rounding=nearest"
    plain += ":reduce_range=all"
    quantised = graphopt.optimize(model, plain, latency=False).model
    found = apart(model, quantised)
    assert found.first is not None
    assert len(found.tensors) >= 7
    assert all(one.snr_db is not None and 20 < one.snr_db < 60 for one in found.tensors)


def test_a_quantised_tensor_under_its_own_name_is_read_back() -> None:
    a, b = build(), build()
    relu = next(node for node in b.graph.nodes if node.name == "relu1")
    scale = b.graph.add_constant("s", np.float32(0.01))
    zero = b.graph.add_constant("z", np.uint8(0))
    value = relu.output
    raw = ir.Variable("raw")
    for reader in value.consumers[:]:
        reader.inputs = [raw if tensor is value else tensor for tensor in reader.inputs]
    relu.outputs = [raw]
    integers = b.graph.add_node("QuantizeLinear", [raw, scale, zero], outputs=[value]).output
    integers.dtype = np.dtype(np.uint8)
    integers.forget_shape()
    reader = b.graph.add_node("DequantizeLinear", [integers, scale, zero]).output
    for node in raw.consumers[:]:
        if node.op != "QuantizeLinear":
            node.inputs = [reader if tensor is raw else tensor for tensor in node.inputs]
    b.sort()
    pairs, _ = match(a, b, SHAPES)
    assert next(twin.result for twin in pairs if twin.original == "r1") == reader.name


def test_renamed_tensors_match_by_their_node() -> None:
    other = build()
    tensor = next(node for node in other.graph.nodes if node.name == "relu0").output
    tensor.name = "renamed"
    found = apart(build(), other)
    assert found.first is None
    assert next(one.other for one in found.tensors if one.tensor == "r0") == "renamed"


def test_narrowed_tensors_have_no_counterpart(fakes: SimpleNamespace) -> None:
    model = ir.from_bytes(fakes.build().SerializeToString())
    other = ir.from_bytes(fakes.build().SerializeToString())
    conv, gemm = next(other.graph.find("Conv")), next(other.graph.find("Gemm"))
    other.graph.set_constant(conv, 1, conv.inputs[1].constant[:2])
    other.graph.set_constant(conv, 2, conv.inputs[2].constant[:2])
    other.graph.set_constant(gemm, 1, gemm.inputs[1].constant[:2])
    other.forget_shapes()
    pairs, alone = match(model, other, {"x": (1, 2, 4, 4)})
    assert [twin.original for twin in pairs] == ["y"]
    assert alone == 5


def test_integers_are_compared_exactly() -> None:
    def count(offset: int) -> ir.Model:
        nodes = [
            helper.make_node("Shape", ["x"], ["s"], "shape"),
            helper.make_node("Add", ["s", "k"], ["y"], "add"),
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
            [helper.make_tensor_value_info("y", TensorProto.INT64, [4])],
            [numpy_helper.from_array(np.int64([offset]), "k")],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return ir.from_bytes(proto.SerializeToString())

    found: Any = apart(count(1), count(2))
    assert found.first.tensor == "y" and found.first.snr_db is None
    assert apart(count(1), count(1)).first is None
