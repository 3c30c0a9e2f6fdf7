"""Dead channels: which claims are false, and how far the options let them go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt.passes.prune import Prune
from graphopt.passes.prune.importance.moment_propagation import Moments, expected_moments
from graphopt.passes.prune.repair.layer_task import task_of
from tests.corpus._net import Net, floats, ints
from tests.passes.prune.oracle import context, copy, largest_difference, load

DEAD = [1, 4, 5]
Between = Callable[[Net, str], str]


def shut(net: Net, dead: list[int] = DEAD, name: str = "first") -> str:
    """Eight channels of 6 x 6, some of them made by filters of zeros."""
    weights = net.rng.standard_normal((8, 3, 1, 1)).astype(np.float32)
    weights[dead] = 0
    return net.op("Conv", net.input(shape=(1, 3, 6, 6)), weights, name=name)


def exact(proto: onnx.ModelProto, **options: object) -> tuple[float, int]:
    """How far pruning without goal and data moves the output, and how many channels ``first`` keeps."""
    before = load(proto)
    after = copy(before)
    Prune(round_to=1, **options).run(after, context(after))  # type: ignore[arg-type]
    after.check()
    rng = np.random.default_rng(1)
    feeds = {
        port.name: rng.standard_normal([d if isinstance(d, int) else 2 for d in port.shape]).astype(
            np.float32
        )
        for port in before.signature.inputs
    }
    negative = {name: -feed for name, feed in feeds.items()}
    width = next(node for node in after.graph.nodes if node.name == "first").inputs[1].constant.shape[0]
    moved = max(largest_difference(before, after, given, "disabled") for given in (feeds, negative))
    return moved, int(width)


def layer_norm_over_space(net: Net, x: str) -> str:
    return net.op("LayerNormalization", x, net.random(6), net.random(6), axis=-1)


def layer_norm_without_bias(net: Net, x: str) -> str:
    return net.op("LayerNormalization", x, net.random(6), axis=-1)


def instance_norm(net: Net, x: str) -> str:
    return net.op("InstanceNormalization", x, net.random(8), net.random(8))


def softmax(net: Net, x: str) -> str:
    return net.op("Softmax", x, axis=3)


def last_of_the_largest(net: Net, x: str) -> str:
    y = net.op("ArgMax", x, axis=3, select_last_index=1)
    return net.op("Cast", y, to=1)


def mask_of_a_dropout(net: Net, x: str) -> str:
    y, mask = net.many(2, "Dropout", x)
    return net.op("Add", y, net.op("Cast", mask, to=1))


def shrink_below_zero(net: Net, x: str) -> str:
    return net.op("Shrink", x, lambd=-1.0, bias=0.5)


def padded_with_ones(net: Net, x: str) -> str:
    return net.op("Pad", x, ints(0, 0, 1, 1, 0, 0, 1, 1), net.array(1.0))


def clipped_from_below(net: Net, x: str) -> str:
    return net.op("Clip", x, net.array(0.5), net.array(2.0))


def powers(net: Net, x: str) -> str:
    return net.op("Pow", net.op("Abs", x), net.array(0.0))


def chosen(net: Net, x: str) -> str:
    return net.op("Where", net.op("Greater", x, net.array(-1.0)), net.array(2.0), x)


def equals(net: Net, x: str) -> str:
    return net.op("Cast", net.op("Equal", net.op("Floor", x), net.array(0.0)), to=1)


def negated(net: Net, x: str) -> str:
    return net.op("Cast", net.op("Not", net.op("Cast", x, to=9)), to=1)


def computed_bias(net: Net, x: str) -> str:
    """A depthwise layer adds what another branch makes to channels that are zero."""
    bias = net.op("Reshape", net.op("GlobalAveragePool", net.conv("x", (8, 3, 1, 1))), ints(-1))
    return net.op("Conv", x, net.random(8, 1, 1, 1), bias, group=8)


def picked_by_data(net: Net, x: str) -> str:
    """A constant that differs from place to place, at a place that depends on the input."""
    x = net.op("Add", x, net.random(1, 8, 1, 6))
    positive = net.op("Greater", net.op("ReduceMean", "x", axes=[0, 1, 2, 3], keepdims=0), net.array(0.0))
    return net.op("Gather", x, net.op("Reshape", net.op("Cast", positive, to=7), ints(1)), axis=3)


BETWEEN: list[Between] = [
    *(layer_norm_over_space, layer_norm_without_bias, instance_norm, softmax, last_of_the_largest),
    *(mask_of_a_dropout, shrink_below_zero, padded_with_ones, clipped_from_below, powers, chosen, equals),
    *(negated, computed_bias, picked_by_data),
]


@pytest.mark.parametrize("pads", [0, 1])  # a layer that pads can take over zeros only
@pytest.mark.parametrize("between", BETWEEN, ids=lambda build: build.__name__)
def test_what_turns_zeros_into_other_values_changes_no_output(between: Between, pads: int) -> None:
    net = Net()
    y = between(net, shut(net))
    last = net.conv(y, (4, 8, 1, 1), name="last", pads=[pads] * 4)
    difference, _ = exact(net.model(last, opset=17))
    assert difference <= 1e-5


def test_zeros_that_travel_still_go() -> None:
    net = Net()
    y = layer_norm_without_bias(net, net.op("Relu", shut(net)))
    assert exact(net.model(net.conv(y, (4, 8, 1, 1), name="last"))) == (pytest.approx(0, abs=1e-5), 5)


def test_nobody_reads_a_channel_that_a_normalisation_still_counts() -> None:
    """With allow_inexact a group may lose channels; one with weights of zero behind it is no free one."""
    net = Net()
    x = net.conv(net.input(shape=(1, 3, 6, 6)), (8, 3, 1, 1), name="first")
    y = net.op("GroupNormalization", x, net.random(8), net.random(8), num_groups=2)
    weights = net.rng.standard_normal((4, 8, 1, 1)).astype(np.float32)
    weights[:, [1, 6]] = 0
    net.tell("last.out", (1, 4, 6, 6))
    net.op("Conv", y, weights, name="last")
    difference, width = exact(net.model("last.out", opset=21), allow_inexact=True)
    assert (difference, width) == (pytest.approx(0, abs=1e-5), 8)


# -- options hold for dead channels too ----------------------------------------------------------------------


def dead_net(dead: list[int] = DEAD) -> onnx.ModelProto:
    net = Net()
    return net.model(net.conv(net.op("Relu", shut(net, dead)), (4, 8, 1, 1), name="last"))


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 5),
        ({"min_channels": 7}, 7),
        ({"max_ratio": 0.25}, 6),
        ({"ratios": ("first@0",)}, 8),
        ({"ratios": ("first@0.25",)}, 6),
    ],
    ids=str,
)
def test_options_bound_what_dead_channels_take(options: dict[str, object], width: int) -> None:
    assert exact(dead_net(), **options) == (pytest.approx(0, abs=1e-6), width)
    with_goal = exact(dead_net(), ratio=0.0, repair=False, **options)
    assert with_goal == (pytest.approx(0, abs=1e-6), width)


@pytest.mark.parametrize("seed", range(5))
def test_a_goal_takes_dead_channels_first_and_no_more_than_asked(seed: int) -> None:
    """Four dead ones at multiples of four: those that align go, and no other set is cut besides."""
    net = Net(seed)
    weights = net.rng.standard_normal((16, 3, 1, 1)).astype(np.float32)
    weights[net.rng.permutation(16)[:6]] = 0
    x = net.op("Conv", net.input(shape=(1, 3, 6, 6)), weights, name="first")
    model = load(net.model(net.conv(x, (4, 16, 1, 1), name="last")))
    after = copy(model)
    Prune(ratio=0.25, round_to=4, repair=False, importance="random").run(after, context(after))
    assert next(iter(after.graph.find("Conv"))).inputs[1].constant.shape[0] == 12
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)}
    assert largest_difference(model, after, feeds, "disabled") <= 1e-5


# -- small facts ---------------------------------------------------------------------------------------------


def test_expected_moments_know_alpha_and_beta() -> None:
    """Y = alpha X W + beta C with X standard normal: variance alpha^2 sum W^2, mean beta C."""
    net = Net()
    x = net.input("v", (1, 1))
    y = net.op("Gemm", x, np.array([[2.0]], np.float32), floats(5.0), alpha=3.0, beta=0.5, name="g")
    moments = expected_moments(load(net.model(y)), {})["g.out"]
    assert isinstance(moments, Moments)
    assert (moments.mean.item(), moments.variance.item()) == (2.5, 36.0)


@pytest.mark.parametrize(
    ("op", "shape", "group", "expected"),
    [
        ("Conv", (8, 1, 3, 3), 8, True),
        ("Conv", (8, 4, 3, 3), 2, False),
        ("ConvTranspose", (8, 1, 3, 3), 8, True),
        ("ConvTranspose", (8, 2, 3, 3), 8, True),
        ("ConvTranspose", (8, 1, 3, 3), 4, False),
    ],
)
def test_a_depthwise_layer_is_known_by_its_inputs(
    op: str, shape: tuple[int, ...], group: int, expected: bool
) -> None:
    net = Net()
    model = load(net.model(net.conv(net.input(shape=(1, 8, 6, 6)), shape, op=op, group=group)))
    task = task_of(next(iter(model.graph.nodes)), (), {"x"})
    assert not isinstance(task, str)
    assert task.is_depthwise is expected
