"""Quantized students: what training sees is what the file computes, before and after."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.errors import PassError
from graphopt.passes.distill.graph.prepare import prepare, write_back
from graphopt.passes.distill.graph.select import Choice
from graphopt.passes.distill.qat.fake_quant import find_quantizers, spelled_out
from graphopt.runtime import Session
from tests.passes.distill.nets import CHANNELS, SIDE, Nodes, Weights, around, weights_of

FEEDS = {"x": np.random.default_rng(1).standard_normal((4, CHANNELS, SIDE, SIDE)).astype(np.float32)}
LAYER_SCALE = np.asarray([0.02, 0.03, 0.05, 0.01], np.float32)


def quantized(limit: int = 127, pad: bool = False) -> ir.Model:
    """Around a convolution with weights in int8, its bias in int32, and pairs on what it reads and makes."""

    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["s"], weights["z"] = np.float32(0.04), np.uint8(120)
        weights["q"] = np.clip(
            rng.integers(-limit, limit + 1, (CHANNELS, CHANNELS, 3, 3)), -limit, limit
        ).astype(np.int8)
        weights["q"].ravel()[0] = limit
        weights["ws"], weights["wz"] = LAYER_SCALE, np.zeros(CHANNELS, np.int8)
        weights["bq"] = rng.integers(-100, 100, CHANNELS).astype(np.int32)
        weights["bs"] = LAYER_SCALE * np.float32(0.04)
        if pad:
            weights["pads"] = np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        stored, pads = ("padded", [0, 0, 0, 0]) if pad else ("aq", [1, 1, 1, 1])
        padding = [helper.make_node("Pad", ["aq", "pads", "z"], ["padded"], "pad")] if pad else []
        return [
            helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"], "store"),
            *padding,
            helper.make_node("DequantizeLinear", [stored, "s", "z"], ["ad"], "read"),
            helper.make_node("DequantizeLinear", ["q", "ws", "wz"], ["w"], "weight", axis=0),
            helper.make_node("DequantizeLinear", ["bq", "bs"], ["bias"], "bias", axis=0),
            helper.make_node("Conv", ["ad", "w", "bias"], ["c"], "it", pads=pads),
            helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"], "store2"),
            helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["b"], "read2"),
        ]

    return around(body)


def answers(model: ir.Model) -> np.ndarray:
    return Session(model, outputs=["y"], optimization="disabled").run(FEEDS)["y"]


@pytest.mark.parametrize("pad", [False, True])
def test_the_rounding_is_the_files(pad: bool) -> None:
    student = quantized(pad=pad)
    prepared = prepare(student, FEEDS, Choice())
    assert set(prepared.quantizers) == {"w", "bias"}
    assert {"w", "bias", "w::stretch", "first.weight", "last.weight"} <= set(prepared.parameters)
    np.testing.assert_allclose(answers(spelled_out(prepared.model)), answers(student), atol=1e-5)


@pytest.mark.parametrize("limit", [127, 63, 7])
def test_trained_weights_go_back_as_integers_of_the_same_range(limit: int) -> None:
    student = quantized(limit)
    prepared = prepare(student, FEEDS, Choice())
    held = {tensor.name: tensor for tensor in prepared.model.graph.initializers}
    rng = np.random.default_rng(0)
    values = {
        name: (held[name].constant + 0.1 * rng.standard_normal(held[name].shape)).astype(np.float32)
        for name in prepared.parameters
    }
    for name, value in values.items():
        held[name].values = value
    wanted = answers(spelled_out(prepared.model))
    before = weights_of(student)
    write_back(student, prepared, values)
    after = weights_of(student)
    assert after.keys() == before.keys()
    assert {n: v.dtype for n, v in after.items()} == {n: v.dtype for n, v in before.items()}
    assert np.abs(after["q"].astype(int)).max() <= limit
    np.testing.assert_allclose(after["bs"], after["ws"] * np.float32(0.04), rtol=1e-5)
    assert not np.allclose(after["ws"], before["ws"])
    np.testing.assert_allclose(answers(student), wanted, atol=2e-2 * np.abs(wanted).max())
    student.check()


def test_a_frozen_bias_is_stored_in_the_new_steps() -> None:
    student = quantized()
    prepared = prepare(student, FEEDS, Choice(freeze=("bias",)))
    before = weights_of(student)
    write_back(student, prepared, {"w::stretch": np.full((CHANNELS, 1, 1, 1), np.log(0.5), np.float32)})
    after = weights_of(student)
    np.testing.assert_allclose(after["ws"], 0.5 * before["ws"], rtol=1e-6)
    np.testing.assert_array_equal(after["bq"], 2 * before["bq"])


def test_a_rounding_that_is_wrong_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    real = find_quantizers

    def wrong(graph: ir.Graph) -> object:
        return {
            name: dataclasses.replace(q, scale=q.scale * np.float32(1.2)) for name, q in real(graph).items()
        }

    monkeypatch.setattr("graphopt.passes.distill.graph.prepare.find_quantizers", wrong)
    with pytest.raises(PassError, match="differs from the student"):
        prepare(quantized(), FEEDS, Choice())


def test_integer_arithmetic_between_a_pair_is_refused() -> None:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["s"], weights["z"] = np.float32(0.05), np.uint8(0)
        return [
            helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"], "store"),
            helper.make_node("Max", ["aq", "z"], ["largest"], "integer"),
            helper.make_node("DequantizeLinear", ["largest", "s", "z"], ["b"], "it"),
        ]

    with pytest.raises(PassError, match="Max 'integer' computes on integers") as caught:
        prepare(around(body), FEEDS, Choice())
    assert caught.value.node == "integer"


def test_weights_in_four_bits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["q"] = rng.integers(-8, 8, (CHANNELS, CHANNELS, 1, 1)).astype(ml_dtypes.int4)
        weights["ws"] = LAYER_SCALE
        return [
            helper.make_node("DequantizeLinear", ["q", "ws"], ["w"], "weight", axis=0),
            helper.make_node("Conv", ["a", "w"], ["b"], "it"),
        ]

    student = around(body, opset=21)
    prepared = prepare(student, FEEDS, Choice())
    quantizer = prepared.quantizers["w"]
    assert (quantizer.low, quantizer.high) == (-8, 7)
    values = np.full((CHANNELS, CHANNELS, 1, 1), 9.0, np.float32)
    write_back(student, prepared, {"w": values})
    stored = weights_of(student)["q"]
    assert stored.dtype == ml_dtypes.int4
    np.testing.assert_array_equal(stored.astype(int), 7)
    student.check()


def chain(layers: int) -> ir.Model:
    """Products with stored weights and biases, one behind the other, on x[1,4]."""
    rng = np.random.default_rng(0)
    nodes, weights, source = [], [], "x"
    for number in range(layers):
        stored = {"w": (rng.integers(-127, 127, (4, 4)), np.int8), "b": (rng.integers(-9, 9, 4), np.int32)}
        for part, (values, dtype) in stored.items():
            name = f"{part}{number}"
            weights.append(numpy_helper.from_array(values.astype(dtype), f"{name}.stored"))
            weights.append(numpy_helper.from_array(np.float32(0.01), f"{name}.scale"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}.stored", f"{name}.scale"], [name]))
        made = "y" if number == layers - 1 else f"x{number}"
        nodes.append(helper.make_node("Gemm", [source, f"w{number}", f"b{number}"], [made], made))
        source = made
    ports = [[helper.make_tensor_value_info(name, 1, [1, 4])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", *ports, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def test_each_bias_is_found_beside_its_weight_in_one_look_at_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many layers there are, the graph is gone through as often."""
    looks: list[str] = []
    find = ir.Graph.find

    def counted(graph: ir.Graph, *ops: str) -> Iterator[ir.Node]:
        looks.append(" ".join(ops))
        return find(graph, *ops)

    monkeypatch.setattr(ir.Graph, "find", counted)
    counts = []
    for layers in (3, 12):
        looks.clear()
        found = find_quantizers(chain(layers).graph)
        counts.append(len(looks))
        assert all(found[f"w{number}"].biases == (f"b{number}",) for number in range(layers))
    assert counts[0] == counts[1]
    prepared = prepare(chain(3), {"x": np.ones((1, 4), np.float32)}, Choice())
    assert {f"w{number}::stretch" for number in range(3)} <= set(prepared.parameters)
