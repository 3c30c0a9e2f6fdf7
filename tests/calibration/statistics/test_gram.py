"""Gram matrices equal those of an explicit run of the layer, for any geometry, order and grouping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt import data, ir
from graphopt.calibration import Gram, Patches, StatisticSpec, collect
from graphopt.errors import DataError
from graphopt.runtime import Session
from tests.corpus._net import Net


def single(op: str, shape: tuple[int, ...], **attributes: Any) -> tuple[ir.Model, ir.Node]:
    """A model of one layer with weights of this shape that reads x[2, C, 9, 8]."""
    net = Net(3)
    channels = shape[1] * attributes.get("group", 1) if op == "Conv" else shape[0]
    x = net.input("x", (2, channels, 9, 8))
    model = ir.from_bytes(net.model(net.op(op, x, net.random(*shape), **attributes)).SerializeToString())
    return model, next(model.graph.find(op))


geometry = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 2)),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
        "auto_pad": st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
        "group": st.sampled_from([1, 2, 4]),
        "transposed": st.booleans(),
    }
)


def layer_of(how: dict[str, Any]) -> tuple[ir.Model, ir.Node]:
    how = dict(how)
    kernel, transposed, groups = how.pop("kernel"), how.pop("transposed"), how["group"]
    if transposed or how["auto_pad"] == "NOTSET":
        how["auto_pad"] = "NOTSET"
    else:
        how.pop("pads")
        if how["auto_pad"].startswith("SAME"):
            how["dilations"] = (1, 1)  # onnxruntime knows no other
    if transposed:  # padding may not eat the output
        how["pads"] = [min(pad, size // 2) for pad, size in zip(how["pads"], kernel * 2, strict=True)]
    shape = (4, 8 // groups if transposed else 4 // groups, *kernel)
    how = {name: list(value) if isinstance(value, tuple) else value for name, value in how.items()}
    return single("ConvTranspose" if transposed else "Conv", shape, **how)


@given(geometry)
@settings(max_examples=80, deadline=None)
def test_rows_times_weights_are_what_the_layer_computes(how: dict[str, Any]) -> None:
    model, node = layer_of(how)
    patches = Patches.of(node)
    assert isinstance(patches, Patches)
    x = np.random.default_rng(0).standard_normal(model.signature.inputs[0].shape).astype(np.float32)
    y = next(iter(Session(model).run({"x": x}).values()))
    every = np.arange(patches.places(x))
    matrix = patches.matrix(node.inputs[1].constant)
    assert matrix.shape == patches.shape(node.inputs[1].constant.shape)
    computed, wanted = patches.rows(x, every) @ matrix, patches.outputs(y, every)
    assert computed.shape == wanted.shape
    np.testing.assert_allclose(computed, wanted, atol=1e-4)
    np.testing.assert_array_equal(patches.weight(matrix), node.inputs[1].constant)
    some = every[:: max(1, len(every) // 5)]
    np.testing.assert_array_equal(patches.rows(x, some), patches.rows(x, every)[:, some])


@pytest.mark.parametrize(("op", "attributes"), [("Gemm", {"transB": 1}), ("Gemm", {}), ("MatMul", {})])
def test_matrix_products(op: str, attributes: dict[str, int]) -> None:
    net = Net(1)
    x = net.input("x", (3, 5))
    shape = (4, 5) if attributes else (5, 4)
    model = ir.from_bytes(net.model(net.op(op, x, net.random(*shape), **attributes)).SerializeToString())
    patches = Patches.of(model.graph.nodes[0])
    assert isinstance(patches, Patches)
    values = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    y = next(iter(Session(model).run({"x": values}).values()))
    weight = model.graph.nodes[0].inputs[1].constant
    rows = patches.rows(values, np.arange(3))
    assert patches.matrix(weight).shape == patches.shape(weight.shape) == (1, 5, 4)
    np.testing.assert_allclose((rows @ patches.matrix(weight))[0], y, atol=1e-5)
    np.testing.assert_array_equal(patches.weight(patches.matrix(weight)), weight)


CONV = Patches("Conv", (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
DEPTHWISE = Patches("Conv", (3, 3), (2, 1), (1, 1), (1, 1, 1, 1), groups=4)


def drawn(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((1, 4, 10, 9)).astype(np.float32), rng.standard_normal((1, 8, 10, 9)))
        for _ in range(count)
    ]


def summed(pairs: list[tuple[np.ndarray, np.ndarray]], **options: Any) -> Gram:
    gram = Gram(CONV, **options)
    for x, t in pairs:
        gram.update(x, t)
    return gram


def test_sums_are_those_of_all_rows() -> None:
    pairs = drawn(30)
    gram = summed(pairs, positions=1000)
    rows = np.concatenate([CONV.rows(x, np.arange(90))[0] for x, _ in pairs]).astype(np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    targets = np.concatenate([t.reshape(8, -1).T for _, t in pairs])
    assert gram.count == len(rows)
    np.testing.assert_allclose(gram.gram[0], rows.T @ rows, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(gram.cross[0], rows.T @ targets, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(gram.energy[0], (targets**2).sum(axis=0), rtol=1e-12)


def test_depthwise_has_a_small_matrix_for_each_channel() -> None:
    x = drawn(1)[0][0]
    gram = Gram(DEPTHWISE, positions=1000)
    gram.update(x)
    assert gram.gram.shape == (4, 10, 10) and gram.cross.shape == (4, 10, 0)
    rows = DEPTHWISE.rows(x, np.arange(45)).astype(np.float64)
    np.testing.assert_allclose(gram.gram[2, :9, :9], rows[2].T @ rows[2], rtol=1e-12)
    assert gram.gram[3, 9, 9] == 45


@given(st.permutations(range(40)), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_order_and_halves_do_not_matter(order: list[int], cut: int) -> None:
    pairs = drawn(40)
    whole = summed(pairs, positions=30)
    mixed = [pairs[index] for index in order]
    both = summed(mixed[:cut], positions=30).merge(summed(mixed[cut:], positions=30))
    assert both.count == whole.count == 40 * 30
    scale = float(whole.gram.max())
    np.testing.assert_allclose(both.gram, whole.gram, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(both.cross, whole.cross, rtol=1e-12, atol=1e-12 * scale)


def test_other_seeds_look_elsewhere() -> None:
    pairs = drawn(2)
    assert not np.allclose(summed(pairs, positions=10, seed=1).gram, summed(pairs, positions=10).gram)


def test_rows_that_are_not_finite_are_left_out() -> None:
    x, t = drawn(1)[0]
    x[0, 0, 5, 5] = np.nan
    gram = Gram(CONV, positions=1000)
    gram.update(x, t)
    assert gram.count == 90 - 9 and gram.nonfinite == 9
    assert np.isfinite(gram.gram).all()


def test_memory_does_not_grow() -> None:
    gram = Gram(CONV)
    for x, t in drawn(200):
        gram.update(x, t)
        assert sum(part.nbytes for part in gram._rows) < 1024 * 37 * 8 + 64 * 37 * 8


def test_other_channels_are_refused() -> None:
    gram = summed(drawn(1))
    with pytest.raises(DataError, match="rows of"):
        gram.update(np.zeros((1, 5, 10, 9), np.float32), np.zeros((1, 8, 10, 9)))


def test_the_engine_collects_it() -> None:
    model, node = single("Conv", (6, 4, 3, 3), pads=[1] * 4)
    patches = Patches.of(node)
    assert isinstance(patches, Patches)
    samples = data.synthetic(model.signature.inputs, {"x": (2, 4, 9, 8)}, 5, 0)
    (gram,) = collect(model, {"x": [StatisticSpec.of("gram", patches=patches)]}, samples)["x"]
    assert gram.count == 5 * 64
    by_hand = Gram(patches)
    for sample in samples:
        by_hand.update(sample.feeds["x"])
    np.testing.assert_allclose(gram.gram, by_hand.gram, rtol=1e-12)


def test_what_cannot_be_followed_says_why() -> None:
    _, node = single("ConvTranspose", (4, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    assert "padding" in str(Patches.of(node))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3), (2, 2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 1), (2, 2, 2, 2), "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("groups", [1, 4])
def test_means_are_those_of_all_rows(kernel, strides, pads, groups) -> None:
    """Summing by axis gives what taking every row and averaging does, borders and dilation included."""
    auto = pads if isinstance(pads, str) else "NOTSET"
    given = (0, 0, 0, 0) if isinstance(pads, str) else pads
    values = np.random.default_rng(0).normal(size=(2, 8, 11, 9)).astype(np.float32)
    for dilations in ((1, 1), (2, 1)):
        patches = Patches("Conv", kernel, strides, dilations, given, auto, (0, 0), groups)
        rows = patches.rows(values, np.arange(patches.places(values))).mean(axis=1)
        np.testing.assert_allclose(patches.means(values), rows, atol=1e-6)
