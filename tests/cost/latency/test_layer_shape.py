"""The shape of a layer: what it reads from a node, and what other widths make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt import ir
from graphopt.cost import LayerShape
from graphopt.cost.latency import timing


def node_of(op: str, source: tuple[int, ...], weight: tuple[int, ...] = (), **attrs: Any) -> ir.Node:
    model = ir.blank()
    inputs: list[ir.Tensor] = [ir.Variable("x", np.float32, source)]
    if weight:
        inputs.append(model.graph.add_constant("w", np.zeros(weight, np.float32)))
    return model.graph.add_node(op, inputs, attrs)


def conv(inputs: int, outputs: int, group: int = 1, side: int = 8) -> LayerShape:
    attrs = (("group", group), ("pads", (1, 1, 1, 1))) if group > 1 else (("pads", (1, 1, 1, 1)),)
    return LayerShape("Conv", (1, inputs, side, side), (outputs, inputs // group, 3, 3), attrs)


def test_equal_layers_have_equal_shapes_however_they_are_written() -> None:
    plain = node_of("Conv", (1, 4, 8, 8), (6, 4, 3, 3), pads=[1, 1, 1, 1])
    wordy = node_of(
        "Conv",
        (1, 4, 8, 8),
        (6, 4, 3, 3),
        pads=[1, 1, 1, 1],
        strides=[1, 1],
        group=1,
        kernel_shape=[3, 3],
        auto_pad="NOTSET",
    )
    assert LayerShape.of(plain, {}) == LayerShape.of(wordy, {}) == conv(4, 6)


def test_inferred_shapes_fill_open_sizes() -> None:
    node = node_of("Conv", (1, 4, 8, 8), (6, 4, 3, 3), pads=[1, 1, 1, 1])
    assert LayerShape.of(node, {"x": (2, 4, 9, 9)}) == LayerShape(
        "Conv", (2, 4, 9, 9), (6, 4, 3, 3), (("pads", (1, 1, 1, 1)),)
    )
    assert LayerShape.of(node, {"x": ("N", 4, 9, 9)}) is None


def test_what_is_not_timed_alone() -> None:
    assert LayerShape.of(node_of("Relu", (1, 4, 8, 8)), {}) is None
    model = ir.blank()
    read = [ir.Variable("x", np.float32, (2, 3)), ir.Variable("w", np.float32, (3, 4))]
    assert LayerShape.of(model.graph.add_node("MatMul", read), {}) is None
    integers = [ir.Variable("x", np.int64, (2, 3)), model.graph.add_constant("k", np.ones((3, 4), np.int64))]
    assert LayerShape.of(model.graph.add_node("MatMul", integers), {}) is None


@pytest.mark.parametrize(
    ("layer", "weight", "group"),
    [
        (conv(8, 12), (4, 6, 3, 3), 1),
        (LayerShape("ConvTranspose", (1, 8, 4, 4), (8, 12, 2, 2)), (6, 4, 2, 2), 1),
        (LayerShape("ConvTranspose", (1, 8, 4, 4), (8, 6, 2, 2), (("group", 2),)), (6, 2, 2, 2), 2),
        (conv(8, 12, group=2), (4, 3, 3, 3), 2),
        (LayerShape("Gemm", (1, 8), (8, 12)), (6, 4), 1),
        (LayerShape("Gemm", (1, 8), (12, 8), (("transB", 1),)), (4, 6), 1),
        (LayerShape("Gemm", (8, 5), (8, 12), (("transA", 1),)), (6, 4), 1),
        (LayerShape("MatMul", (1, 7, 8), (8, 12)), (6, 4), 1),
    ],
)
def test_other_widths(layer: LayerShape, weight: tuple[int, ...], group: int) -> None:
    assert (layer.inputs, layer.outputs) == (8, 12)
    changed = layer.with_widths(6, 4)
    assert (changed.inputs, changed.outputs, changed.weight, changed.group) == (6, 4, weight, group)
    assert changed.with_widths(8, 12) == layer == layer.with_widths()


def test_depthwise_outputs_follow_inputs() -> None:
    layer = conv(8, 16, group=8)
    for changed in (layer.with_widths(inputs=6), layer.with_widths(outputs=12), layer.with_widths(6, 12)):
        assert (changed.group, changed.inputs, changed.outputs) == (6, 6, 12)
    pool = LayerShape("MaxPool", (1, 8, 4, 4), (), (("kernel_shape", (2, 2)),))
    assert pool.with_widths(outputs=5).input == (1, 5, 4, 4)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 10), (None, 11), (0, None)])
def test_impossible_widths_are_refused(inputs: int | None, outputs: int | None) -> None:
    with pytest.raises(ValueError, match="outputs"):
        conv(8, 16, group=8).with_widths(inputs, outputs)


def test_one_channel_is_no_depthwise() -> None:
    assert not conv(1, 16).is_tied
    assert conv(8, 16).with_widths(1, 4).with_widths(8, 16) == conv(8, 16)


@pytest.mark.parametrize(
    "layer",
    [
        conv(8, 16),
        conv(3, 16),
        conv(8, 16, group=8),
        LayerShape("Conv", (1, 8, 20), (4, 8, 3)),
        LayerShape("ConvTranspose", (1, 8, 6, 6), (8, 4, 2, 2), (("strides", (2, 2)),)),
        LayerShape("Gemm", (3, 8), (8, 5)),
        LayerShape("Gemm", (3, 8), (5, 8), (("transB", 1),)),
        LayerShape("MatMul", (2, 3, 8), (8, 5)),
        LayerShape("MaxPool", (1, 8, 6, 6), (), (("kernel_shape", (2, 2)), ("strides", (2, 2)))),
        LayerShape("GlobalAveragePool", (1, 8, 6, 6)),
        LayerShape("Conv", (1, 8, 6, 6), (4, 8, 3, 3), (), "float16"),
    ],
    ids=lambda layer: layer.op,
)
def test_every_kind_of_layer_is_timed(layer: LayerShape) -> None:
    model = timing.tiny_model(layer, np.random.default_rng(0))
    model.check()
    inferred = ir.infer_shapes(model)
    timed = next(node for node in model.graph.nodes if node.name == "layer")
    assert LayerShape.of(timed, inferred) == layer
    [time] = timing.time_layers([layer], 1, seconds=0.0, progress=lambda _, items, __: items)
    assert 0 < time < 1000
