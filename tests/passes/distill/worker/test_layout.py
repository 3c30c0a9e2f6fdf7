"""Kernels of the training graph: blocked convolutions and masks say what the plain operators say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from graphopt.passes.distill.worker.layout import kernels
from graphopt.passes.distill.worker.layout.blocked import MICROSOFT, Blocked, block_size
from graphopt.passes.distill.worker.layout.kernels import use_faster_kernels
from graphopt.passes.distill.worker.layout.packing import DOMAIN

BLOCK = block_size()
blocked = pytest.mark.skipif(not BLOCK, reason="onnxruntime has no blocked kernels on this machine")

# batch and channels of the input, weights [out, in / group, kh, kw], attributes
CONVOLUTIONS: dict[str, tuple[tuple[int, int], tuple[int, ...], dict[str, Any]]] = {
    "whole blocks": ((2, 32), (48, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    "parts of blocks": ((2, 20), (12, 20, 3, 3), {"pads": [1, 1, 1, 1]}),
    "few channels in": ((3, 3), (24, 3, 5, 5), {"pads": [2, 2, 2, 2], "strides": [2, 2]}),
    "few channels out": ((2, 32), (1, 32, 3, 3), {}),
    "odd channels": ((2, 19), (16, 19, 3, 3), {"pads": [1, 1, 1, 1]}),
    "pointwise": ((2, 24), (40, 24, 1, 1), {}),
    "strided": ((2, 16), (16, 16, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    "dilated": ((2, 16), (32, 16, 3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "uneven pads": ((2, 16), (16, 16, 3, 5), {"pads": [0, 1, 2, 3]}),
    "depthwise": ((2, 20), (20, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 20}),
    "grouped": ((2, 32), (32, 16, 3, 3), {"pads": [1, 1, 1, 1], "group": 2}),
}
NO_KERNEL = ("grouped", "odd channels")  # channels of a group, or a number of channels, that no kernel takes
NO_CONVOLUTION = ("few channels in", "strided", "grouped")  # gradients that stay what they were


def graph(
    nodes: Sequence[onnx.NodeProto],
    feeds: dict[str, np.ndarray],
    outputs: Sequence[str],
    inner: dict[str, Sequence[int]] | None = None,
) -> onnx.ModelProto:
    """A model; ``inner`` are shapes of tensors within it."""
    shapes = {name: value.shape for name, value in feeds.items()} | (inner or {})
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    }
    made = helper.make_graph(
        nodes,
        "g",
        [values[name] for name in feeds],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        value_info=[values[name] for name in inner or {}],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The output."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """With blocked convolutions."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    Blocked(changed.graph, BLOCK).rewrite()
    return changed


def same(changed: onnx.ModelProto, plain: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    """Both compute the same, up to rounding."""
    np.testing.assert_allclose(run(changed, feeds), run(plain, feeds), rtol=1e-4, atol=1e-4)


def operators(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Domain and operator of each node."""
    return [(node.domain, node.op_type) for node in model.graph.node]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 from a normal distribution."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def feeds_of(name: str) -> dict[str, np.ndarray]:
    """Input, weights and bias of a convolution."""
    (batch, channels), weights, _ = CONVOLUTIONS[name]
    return {"x": random(batch, channels, 9, 11), "w": random(*weights), "b": random(weights[0])}


@blocked
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_blocked_convolution_is_the_plain_one(name: str) -> None:
    feeds = feeds_of(name)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", **CONVOLUTIONS[name][2])
    plain = graph([node], feeds, ["y"])
    changed = rewritten(plain)
    assert ((DOMAIN, "Conv") in operators(changed)) == (name not in NO_KERNEL)
    same(changed, plain, feeds)


@blocked
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_gradient_of_the_input_is_a_convolution(name: str) -> None:
    x, w, _ = feeds_of(name).values()
    attributes = CONVOLUTIONS[name][2]
    forward = graph([helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], {"x": x, "w": w}, ["y"])
    slope = random(*run(forward, {"x": x, "w": w}).shape, seed=1)
    feeds = {"s": slope, "x": x, "w": w}
    gradient = helper.make_node(
        "ConvGrad", ["s", "x", "w"], ["dx", "", ""], "g", domain=MICROSOFT, **attributes
    )
    changed = rewritten(graph([gradient], feeds, ["dx"]))
    assert ((MICROSOFT, "ConvGrad") in operators(changed)) == (name in NO_CONVOLUTION)
    if name not in NO_CONVOLUTION:
        transposed = helper.make_node("ConvTranspose", ["s", "w"], ["dx"], **attributes)
        same(changed, graph([transposed], feeds, ["dx"]), feeds)


def test_gradients_of_weights_and_bias_stay_with_their_node() -> None:
    feeds = {"s": random(2, 16, 8, 8), "x": random(2, 16, 8, 8), "w": random(16, 16, 3, 3)}
    gradient = helper.make_node(
        "ConvGrad", ["s", "x", "w"], ["dx", "dw", "db"], "g", domain=MICROSOFT, pads=[1] * 4
    )
    model = graph([gradient], feeds, ["dx", "dw", "db"])
    Blocked(model.graph, 16).rewrite()
    assert list(model.graph.node[-1].output) == ["", "dw", "db"]
    assert {name for node in model.graph.node for name in node.output} >= {"dx", "dw", "db"}


@blocked
def test_a_residual_block_stays_in_blocks() -> None:
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first", **pads),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w"], ["c"], "second", **pads),
        helper.make_node("Add", ["c", "b"], ["d"], "add"),
        helper.make_node("Relu", ["d"], ["e"], "last"),
        helper.make_node("Conv", ["e", "w"], ["f"], "third", **pads),
        helper.make_node("Mul", ["f", "b"], ["y"], "product"),
    ]
    feeds = {"x": random(2, 20, 7, 7), "w": random(20, 20, 3, 3)}
    model = graph(nodes, feeds, ["y"], {"b": (2, 20, 7, 7), "c": (2, 20, 7, 7)})
    changed = rewritten(model)
    found = operators(changed)
    assert ("", "Add") not in found and ("", "Relu") not in found
    assert found.count((DOMAIN, "ReorderInput")) == 1  # of x
    assert found.count((DOMAIN, "ReorderOutput")) == 2  # of what the product reads
    same(changed, model, feeds)


@blocked
def test_a_sum_that_broadcasts_is_left() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first"),
        helper.make_node("Conv", ["x", "v"], ["b"], "second"),
        helper.make_node("Add", ["a", "b"], ["y"], "add"),
    ]
    feeds = {"x": random(2, 16, 3, 3), "w": random(16, 16, 3, 3), "v": random(16, 16, 1, 1)}
    model = graph(nodes, feeds, ["y"], {"a": (2, 16, 1, 1), "b": (2, 16, 3, 3)})
    changed = rewritten(model)
    assert ("", "Add") in operators(changed)
    same(changed, model, feeds)


@pytest.mark.parametrize("in_blocks", [False, pytest.param(True, marks=blocked)])
def test_the_gradient_of_relu_is_a_mask(in_blocks: bool, tmp_path: Path) -> None:
    """Its inputs come from convolutions, and are in blocks then; otherwise they are plain."""
    inputs = ["slope", "activated"]
    shape = (2, 20, 5, 5)
    feeds = {"s": random(*shape, seed=1), "x": random(*shape)}
    nodes = [
        helper.make_node("Identity", ["x"], ["activated"]),  # onnxruntime also gives the input of a Relu
        helper.make_node("Identity", ["s"], ["slope"]),
    ]
    if in_blocks:
        feeds["w"] = np.eye(20, dtype=np.float32)[:, :, None, None]
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["p"], "forward"),
            helper.make_node("Relu", ["p"], ["activated"], "relu"),
            helper.make_node("Conv", ["s", "w"], ["slope"], "backward"),
        ]
    gradient = helper.make_node("ReluGrad", inputs, ["y"], "gradient", domain=MICROSOFT)
    model = graph([*nodes, gradient], feeds, ["y"], {"activated": shape})
    feeds["x"][0, 0, 0] = [0.0, -0.0, 1e-30, -1e-30, 3e38]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    use_faster_kernels(path)
    assert (MICROSOFT, "ReluGrad") not in operators(onnx.load(path))
    found = run(onnx.load(path), feeds)
    np.testing.assert_array_equal(found, np.where(feeds["x"] > 0, feeds["s"], 0))


@blocked
def test_the_sum_over_two_readers_stays_in_blocks() -> None:
    """As before a residual block: the gradient goes through two convolutions, and past them as a copy."""
    pads = {"pads": [1, 1, 1, 1]}
    copies = [helper.make_node("Identity", ["s"], [name], name) for name in ("in", "past")]
    end = helper.make_node("Sum", ["through", "past"], ["y"], "sum")
    shape = (2, 20, 5, 5)
    feeds = {"s": random(*shape, seed=1), "x": random(*shape), "w": random(20, 20, 3, 3)}

    def chain(op: str, domain: str, inputs: list[str], none: list[str]) -> onnx.ModelProto:
        steps = [
            helper.make_node(op, [source, *inputs], [target, *none], target, domain=domain, **pads)
            for source, target in (("in", "within"), ("within", "through"))
        ]
        return graph([*copies, *steps, end], feeds, ["y"], {"through": shape, "past": shape})

    changed = rewritten(chain("ConvGrad", MICROSOFT, ["x", "w"], ["", ""]))
    assert ("", "Sum") not in operators(changed)
    assert operators(changed).count((DOMAIN, "ReorderInput")) == 1
    same(changed, chain("ConvTranspose", "", ["w"], []), feeds)


def test_without_blocked_kernels_convolutions_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "block_size", lambda: 0)
    feeds = feeds_of("whole blocks")
    model = graph([helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")], feeds, ["y"])
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    use_faster_kernels(path)
    assert operators(onnx.load(path)) == [("", "Conv")]
