"""Channels that never change are removed exactly: biases take them over, except where padding forbids it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import data, ir
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.importance.dead_channels import dead_classes
from graphopt.passes.prune.repair.constant_channels import absorb_constants, without_constants
from tests.corpus import random_cnn
from tests.corpus._net import Net, ints
from tests.passes.prune.oracle import context, copy, largest_difference, load

PADS = {"pads": [1, 1, 1, 1]}
DEAD = [1, 4, 5]


def steady_first(net: Net, biases: tuple[float, ...], x: str = "") -> str:
    """A Conv of 8 channels; those in DEAD have filters of zeros and these biases."""
    weights = net.rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    bias = net.rng.standard_normal(8).astype(np.float32)
    weights[DEAD] = 0
    bias[DEAD] = biases
    return net.op("Conv", x or net.input(), weights, bias, name="first", **PADS)


def exact(proto: onnx.ModelProto, calibration: object = None) -> tuple[ir.Model, ir.Model]:
    """The model before and after removing nothing but what is exact."""
    before, after = load(proto), load(proto)
    inputs = {} if calibration is None else {"calibration": calibration}
    Prune(ratio=0.0, round_to=1, repair=False).run(after, context(after, **inputs))
    after.check()
    return before, after


def width(model: ir.Model, name: str) -> int:
    node = next(node for node in model.graph.nodes if node.name == name)
    return int(node.inputs[1].constant.shape[0])


def assert_equal(before: ir.Model, after: ir.Model) -> None:
    feeds = {
        port.name: np.random.default_rng(1).standard_normal(
            [d if isinstance(d, int) else 2 for d in port.shape]
        )
        for port in before.signature.inputs
    }
    feeds = {name: feed.astype(np.float32) for name, feed in feeds.items()}
    for level in ("disabled", "all"):
        assert largest_difference(before, after, feeds, level) <= 1e-5


def test_a_constant_is_taken_over_by_a_layer_without_padding() -> None:
    net = Net()
    y = net.op("Sigmoid", steady_first(net, (0.5, -1.0, 2.0)))
    before, after = exact(net.model(net.conv(y, (4, 8, 3, 3), name="last")))
    assert width(after, "first") == 5
    assert_equal(before, after)


def test_a_constant_stays_in_front_of_padding_unless_it_is_zero() -> None:
    net = Net()
    y = net.op("Relu", steady_first(net, (0.5, -1.0, -2.0)))
    before, after = exact(net.model(net.conv(y, (4, 8, 3, 3), name="last", bias=True, **PADS)))
    assert width(after, "first") == 6  # the two that the Relu shuts
    assert_equal(before, after)


def test_one_reader_that_pads_is_enough_to_stay() -> None:
    net = Net()
    y = net.op("Relu", steady_first(net, (0.5, -1.0, 2.0)))
    first, second = net.conv(y, (4, 8, 1, 1)), net.conv(y, (4, 8, 3, 3), **PADS)
    before, after = exact(net.model(net.op("Concat", first, second, axis=1)))
    assert width(after, "first") == 7
    assert_equal(before, after)


def test_padding_in_between_makes_a_constant_vary() -> None:
    net = Net()
    y = net.op("Pad", steady_first(net, (0.5, 0.0, 2.0)), ints(0, 0, 1, 1, 0, 0, 1, 1))
    before, after = exact(net.model(net.conv(y, (4, 8, 3, 3), name="last")))
    assert width(after, "first") == 7
    assert_equal(before, after)


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_through_pooling_and_flattening(op: str) -> None:
    net = Net()
    y = net.op(
        "Flatten", net.op("GlobalAveragePool", net.op("HardSwish", steady_first(net, (0.5, -1.0, 2.0))))
    )
    y = (
        net.gemm(y, (8, 6), bias=(6,), name="last", alpha=0.5, beta=2.0)
        if op == "Gemm"
        else net.op("MatMul", y, net.random(8, 6), name="last")
    )
    before, after = exact(net.model(net.op("Relu", y)))
    assert width(after, "first") == 5
    assert_equal(before, after)


def test_a_normalisation_whose_scale_is_zero_and_what_depends_on_it_alone() -> None:
    """Channel 2 is shut by its scale; channel 0 of the next layer reads only channel 2."""
    net = Net()
    scale = net.rng.uniform(0.5, 1.5, 8).astype(np.float32)
    scale[2] = 0
    x = net.conv(net.input(), (8, 3, 3, 3), name="first")
    rest = [net.random(8), net.random(8), net.random(8, low=0.5, high=1.5)]
    x = net.op("BatchNormalization", x, scale, *rest)
    weights = net.rng.standard_normal((6, 8, 1, 1)).astype(np.float32)
    weights[0] = 0
    weights[0, 2] = 1
    y = net.op("Relu", net.op("Conv", x, weights, name="second"))
    before, after = exact(net.model(net.conv(y, (4, 6, 3, 3), name="last")))
    assert (width(after, "first"), width(after, "second")) == (7, 5)
    assert_equal(before, after)


def test_a_depthwise_layer_passes_a_constant_on() -> None:
    net = Net()
    y = net.conv(net.op("Relu", steady_first(net, (0.5, -1.0, 2.0))), (8, 1, 3, 3), group=8, bias=True)
    before, after = exact(net.model(net.conv(y, (4, 8, 1, 1), name="last")))
    assert width(after, "first") == 5
    assert_equal(before, after)


def test_groups_lose_constants_of_their_own() -> None:
    """Channels 1 and 4, 5: one in the first group, two in the second, so one of each goes."""
    net = Net()
    y = net.op("Sigmoid", steady_first(net, (0.5, -1.0, 2.0)))
    before, after = exact(net.model(net.conv(y, (4, 4, 3, 3), name="last", group=2)))
    assert width(after, "first") == 6
    assert_equal(before, after)


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_all_samples_agree_on_counts_with_data_only(calibrated: bool) -> None:
    net = Net()
    weights = net.rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    bias = net.rng.standard_normal(8).astype(np.float32)
    bias[[0, 7]] = -1e4  # the Relu never fires
    y = net.op("Relu", net.op("Conv", net.input(), weights, bias, name="first", **PADS))
    proto = net.model(net.conv(y, (4, 8, 3, 3), name="last", **PADS))
    model = load(proto)
    samples = data.synthetic(model.signature.inputs, {}, 32, 0)
    before, after = exact(proto, samples if calibrated else None)
    assert width(after, "first") == (6 if calibrated else 8)
    assert_equal(before, after)


@pytest.mark.parametrize("seed", range(25))
def test_planted_constants_change_no_output(seed: int) -> None:
    """Filters of zeros in random networks: absorbing them keeps every output."""
    model = load(random_cnn(seed))
    rng = np.random.default_rng(seed)
    for node in model.graph.find("Conv", "Gemm"):
        values = np.array(node.inputs[1].constant)
        axis = 0 if node.op == "Conv" or node.attr("transB", 0) else 1
        np.moveaxis(values, axis, 0)[rng.random(values.shape[axis]) < 0.4] = 0
        model.graph.set_constant(node, 1, values)
    absorbed = copy(model)
    ctx = context(absorbed)
    absorb_constants(absorbed, gather_facts(absorbed, ctx), ctx)
    feeds = next(iter(ctx.inputs.check)).feeds
    rng = np.random.default_rng(1)
    feeds = {name: rng.standard_normal(feed.shape).astype(feed.dtype) for name, feed in feeds.items()}
    assert largest_difference(model, absorbed, feeds, "disabled") <= 1e-5
    left = without_constants(model, gather_facts(model, ctx), ctx)
    dead = len(dead_classes(couple(left, gather_facts(left, ctx))))
    assert dead >= len(dead_classes(couple(model, gather_facts(model, ctx))))
