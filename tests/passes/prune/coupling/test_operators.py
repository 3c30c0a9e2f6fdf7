"""Each operator's rule: what gets narrower with it, what stays whole and why; the masked twin every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import pytest

from graphopt.passes.prune import Prune
from tests.corpus._net import Net, ints
from tests.passes.prune.oracle import Pruned, assert_twin, context, copy, load, prune

HALF = Prune(ratio=0.5, round_to=1)
PADS = {"pads": [1, 1, 1, 1]}


def widths(pruned: Pruned) -> dict[str, int]:
    """Output channels of the named layers after pruning."""
    found = {}
    for node in pruned.after.graph.find("Conv", "ConvTranspose", "Gemm", "MatMul"):
        if node.inputs[1].constant is None:
            continue
        shape = node.inputs[1].constant.shape
        group = node.attr("group", 1)
        if node.op == "ConvTranspose":
            found[node.name] = shape[1] * group
        elif node.op == "MatMul" or (node.op == "Gemm" and not node.attr("transB", 0)):
            found[node.name] = shape[1]
        else:
            found[node.name] = shape[0]
    return found


def body(net: Net, width: int = 8, shape: tuple[int | str, ...] = (1, 3, 8, 8)) -> str:
    return net.op("Relu", net.conv(net.input(shape=shape), (width, 3, 3, 3), bias=True, name="first", **PADS))


def last(net: Net, y: str, channels: int) -> onnx.ModelProto:
    return net.model(net.conv(y, (2, channels, 1, 1), name="last"))


Build = Callable[[Net], onnx.ModelProto]


def residual(net: Net) -> onnx.ModelProto:
    x = body(net)
    y = net.op("Add", x, net.conv(x, (8, 8, 3, 3), name="branch", **PADS))
    return last(net, y, 8)


def concat(net: Net) -> onnx.ModelProto:
    x = body(net)
    y = net.op("Concat", x, net.conv(x, (6, 8, 3, 3), name="branch", **PADS), axis=1)
    return last(net, net.bn(y, 14), 14)


def concat_with_the_input(net: Net) -> onnx.ModelProto:
    x = body(net)
    return last(net, net.op("Concat", "x", x, axis=1), 11)


def depthwise(net: Net) -> onnx.ModelProto:
    return last(net, net.conv(body(net), (8, 1, 3, 3), bias=True, group=8, name="depth"), 8)


def depthwise_with_multiplier(net: Net) -> onnx.ModelProto:
    return last(net, net.conv(body(net), (16, 1, 3, 3), bias=True, group=8, name="depth"), 16)


def grouped(net: Net) -> onnx.ModelProto:
    return last(net, net.conv(body(net), (12, 4, 3, 3), bias=True, group=2, name="grouped"), 12)


def transposed(net: Net) -> onnx.ModelProto:
    y = net.conv(body(net), (8, 6, 2, 2), op="ConvTranspose", bias=True, strides=[2, 2], name="up")
    return last(net, y, 6)


def transposed_in_groups(net: Net) -> onnx.ModelProto:
    y = net.conv(body(net), (8, 3, 2, 2), op="ConvTranspose", bias=True, strides=[2, 2], group=2, name="up")
    return last(net, y, 6)


def transposed_depthwise(net: Net) -> onnx.ModelProto:
    y = net.conv(body(net), (8, 1, 2, 2), op="ConvTranspose", strides=[2, 2], group=8, name="up")
    return last(net, y, 8)


def squeeze_and_excite(net: Net) -> onnx.ModelProto:
    x = body(net)
    gate = net.op(
        "Relu", net.conv(net.op("ReduceMean", x, axes=[2, 3]), (4, 8, 1, 1), bias=True, name="squeeze")
    )
    gate = net.op("HardSigmoid", net.conv(gate, (8, 4, 1, 1), bias=True, name="excite"))
    return last(net, net.op("Mul", x, gate), 8)


def spatial_attention(net: Net) -> onnx.ModelProto:
    x = body(net)
    return last(net, net.op("Mul", net.op("Sigmoid", net.conv(x, (1, 8, 1, 1), name="map")), x), 8)


def constants_of_every_shape(net: Net) -> onnx.ModelProto:
    y = net.op("Add", net.op("Mul", body(net), net.random(8, 1, 1)), net.random(1, 8, 1, 1))
    y = net.op("PRelu", net.op("Sub", net.random(1, 8, 8, 8), y), net.random(8, 1, 1))
    y = net.op("Max", net.op("Div", y, net.array(3.0)), net.random(1, 1, 8, 8))
    return last(net, y, 8)


def flatten_map(net: Net) -> onnx.ModelProto:
    y = net.gemm(net.op("Flatten", body(net)), (512, 10), bias=(10,), name="hidden")
    return net.model(net.gemm(net.op("Relu", y), (5, 10), bias=(5,), transB=1, name="last"))


def reshape_to_a_number(net: Net) -> onnx.ModelProto:
    y = net.op("Reshape", body(net), ints(1, 512))
    return net.model(net.op("MatMul", y, net.random(512, 4), name="last"))


def reshape_to_the_rest(net: Net) -> onnx.ModelProto:
    y = net.op("Reshape", body(net, shape=("N", 3, 8, 8)), ints(0, -1))
    return net.model(net.op("MatMul", y, net.random(512, 4), name="last"))


def tokens(net: Net) -> onnx.ModelProto:
    """Image to tokens and back: (1, C, 8, 8) -> (1, 64, C) -> MatMul -> (1, D, 8, 8)."""
    y = net.op("Transpose", net.op("Reshape", body(net), ints(1, 8, 64)), perm=[0, 2, 1])
    y = net.op("Add", net.op("MatMul", y, net.random(8, 12), name="tokens"), net.random(12))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), ints(1, 12, 8, 8))
    return last(net, y, 12)


def size_from_shape(net: Net) -> onnx.ModelProto:
    """(N, C, 8, 8) -> (N, C, 64), with N and C read from the tensor at run time."""
    x = body(net, shape=("N", 3, 8, 8))
    size = net.op("Concat", net.op("Slice", net.op("Shape", x), ints(0), ints(2)), ints(-1), axis=0)
    y = net.op("Unsqueeze", net.op("Reshape", x, size), ints(3))
    return last(net, y, 8)


def split_equally(net: Net) -> onnx.ModelProto:
    first, second = net.many(2, "Split", body(net), axis=1)
    return last(net, net.op("Concat", net.op("Relu", second), first, axis=1), 8)


def split_by_size(net: Net) -> onnx.ModelProto:
    first, second = net.many(2, "Split", body(net), ints(6, 2), axis=1)
    y = net.op("Concat", first, net.conv(second, (4, 2, 1, 1), name="side"), axis=1)
    return last(net, y, 10)


def slice_of_channels(net: Net) -> onnx.ModelProto:
    x = body(net)
    back = net.op("Slice", x, ints(-3), ints(99), ints(1))
    front = net.op("Slice", x, ints(0, 0), ints(5, 4), ints(1, 2), ints(1, 1))
    front = net.op("Resize", front, None, net.array(1, 1, 2, 1), mode="nearest")
    return last(net, net.op("Concat", back, front, axis=1), 8)


def gather_of_channels(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Gather", body(net), ints(5, 0, -1, 2), axis=1), 4)


def gather_by_a_table(net: Net) -> onnx.ModelProto:
    """What strided views become: all channels by a table with axes of size 1."""
    y = net.op("Reshape", net.op("GlobalAveragePool", body(net)), ints(-1))
    y = net.op("Gather", y, np.arange(8).reshape(1, 8, 1, 1), axis=0)
    return last(net, y, 8)


def option_a_shortcut(net: Net) -> onnx.ModelProto:
    x = body(net, 4)
    y = net.conv(x, (8, 4, 3, 3), strides=[2, 2], name="wide", **PADS)
    x = net.op("Slice", x, ints(0, 0), ints(99, 99), ints(2, 3), ints(2, 2))
    x = net.op("Pad", x, ints(0, 2, 0, 0, 0, 2, 0, 0))
    return last(net, net.op("Add", x, y), 8)


def shuffle(net: Net) -> onnx.ModelProto:
    y = net.op("Transpose", net.op("Reshape", body(net), ints(0, 2, 4, 8, 8)), perm=[0, 2, 1, 3, 4])
    return last(net, net.op("Reshape", y, ints(0, 8, 8, 8)), 8)


def depth_to_space(net: Net) -> onnx.ModelProto:
    return last(net, net.op("DepthToSpace", body(net, 16), blocksize=2), 4)


def depth_to_space_crd(net: Net) -> onnx.ModelProto:
    return last(net, net.op("DepthToSpace", body(net, 16), blocksize=2, mode="CRD"), 4)


def resize_by_sizes(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Resize", body(net), None, None, ints(1, 8, 16, 16)), 8)


def instance_norm(net: Net) -> onnx.ModelProto:
    return last(net, net.op("InstanceNormalization", body(net), net.random(8), net.random(8)), 8)


def expand(net: Net) -> onnx.ModelProto:
    y = net.op("Expand", net.op("GlobalAveragePool", body(net)), ints(1, 8, 4, 4))
    return last(net, y, 8)


def joined_in_space(net: Net) -> onnx.ModelProto:
    x = body(net)
    return last(net, net.op("Concat", x, net.conv(x, (8, 8, 1, 1), name="below"), axis=2), 8)


def shared_weights(net: Net) -> onnx.ModelProto:
    x = body(net)
    y = net.op(
        "Relu", net.conv(x, (8, 8, 3, 3), weight=net.random(8, 8, 3, 3, name="w"), name="once", **PADS)
    )
    return last(net, net.conv(y, (8, 8, 3, 3), weight="w", name="twice", **PADS), 8)


def shared_bias(net: Net) -> onnx.ModelProto:
    bias = net.random(8)
    y = net.op("Conv", body(net), net.random(8, 8, 1, 1), bias, name="one")
    return last(net, net.op("Conv", y, net.random(8, 8, 1, 1), bias, name="two"), 8)


def one_step_in_two(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Slice", body(net), ints(0), ints(8), ints(1), ints(2)), 4)


def shuffle_unit(net: Net) -> onnx.ModelProto:
    """ShuffleNet: grouped layer, shuffle, depthwise layer, grouped layer, residual sum."""
    x = body(net, 12)
    y = net.conv(x, (12, 4, 1, 1), group=3, name="squeeze")
    y = net.op("Transpose", net.op("Reshape", y, ints(1, 3, 4, 8, 8)), perm=[0, 2, 1, 3, 4])
    y = net.conv(net.op("Reshape", y, ints(1, 12, 8, 8)), (12, 1, 3, 3), group=12, name="depth", **PADS)
    y = net.conv(y, (12, 4, 1, 1), group=3, name="expand")
    return last(net, net.op("Add", x, y), 12)


def shuffle_chain(net: Net) -> onnx.ModelProto:
    """ShuffleNetV2: half of the channels is worked on, then both halves are shuffled; three times."""
    x = body(net, 16)
    for number in range(3):
        left, right = net.many(2, "Split", x, axis=1)
        right = net.op("Relu", net.conv(right, (8, 8, 1, 1), name=f"unit{number}"))
        x = net.op("Reshape", net.op("Concat", left, right, axis=1), ints(0, 2, 8, 8, 8))
        x = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 1, 3, 4]), ints(0, -1, 8, 8))
    return last(net, x, 16)


def transposed_depthwise_with_multiplier(net: Net) -> onnx.ModelProto:
    y = net.conv(body(net), (8, 2, 2, 2), op="ConvTranspose", bias=True, strides=[2, 2], group=8, name="up")
    return last(net, y, 16)


def space_to_depth(net: Net) -> onnx.ModelProto:
    return last(net, net.op("SpaceToDepth", body(net), blocksize=2), 32)


def pixel_unshuffle(net: Net) -> onnx.ModelProto:
    y = net.op("Transpose", net.op("Reshape", body(net), ints(1, 8, 4, 2, 4, 2)), perm=[0, 1, 3, 5, 2, 4])
    return last(net, net.op("Reshape", y, ints(1, 32, 4, 4)), 32)


def pixel_shuffle(net: Net) -> onnx.ModelProto:
    y = net.op("Reshape", body(net, 16), ints(1, 4, 2, 2, 8, 8))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 1, 4, 2, 5, 3]), ints(1, 4, 16, 16))
    return last(net, y, 4)


def tile(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Tile", body(net), ints(1, 2, 1, 1)), 16)


def one_channel_as_gate(net: Net) -> onnx.ModelProto:
    x = body(net)
    return last(
        net, net.op("Mul", x, net.op("Unsqueeze", net.op("Gather", x, np.array(3), axis=1), ints(1))), 8
    )


def resize_by_sizes_of_named_axes(net: Net) -> onnx.ModelProto:
    y = net.op("Resize", body(net), None, None, ints(16, 16), axes=[2, 3])
    return net.model(net.conv(y, (2, 8, 1, 1), name="last"), opset=18)


def group_norm(net: Net) -> onnx.ModelProto:
    y = net.op("GroupNormalization", body(net), net.random(8), net.random(8), num_groups=4, epsilon=0.1)
    net.tell("last.out", (1, 2, 8, 8))
    return net.model(net.conv(y, (2, 8, 1, 1), name="last"), opset=21)


def group_norm_in_pieces(net: Net) -> onnx.ModelProto:
    y = net.op("Reshape", body(net), ints(0, 4, -1))
    y = net.op("InstanceNormalization", y, net.array(*[1] * 4), net.array(*[0] * 4), epsilon=0.1)
    y = net.op("Mul", net.op("Reshape", y, ints(1, 8, 8, 8)), net.random(8, 1, 1))
    return last(net, net.op("Add", y, net.random(8, 1, 1)), 8)


def layer_norm_over_space(net: Net) -> onnx.ModelProto:
    return last(net, net.op("LayerNormalization", body(net), net.random(8, 8), axis=2), 8)


def softmax_over_space(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Softmax", body(net), axis=2), 8)


def gelu(net: Net) -> onnx.ModelProto:
    x = body(net)
    y = net.op("Add", net.op("Erf", net.op("Div", x, net.array(1.4142135))), net.array(1.0))
    return last(net, net.op("Mul", net.op("Mul", x, y), net.array(0.5)), 8)


def sampled(net: Net) -> onnx.ModelProto:
    grid = net.random(1, 5, 5, 2)
    return last(net, net.op("GridSample", body(net), grid), 8)


def convnext(net: Net) -> onnx.ModelProto:
    """Depthwise layer, normalisation over the channels, two layers on the last axis, layer scale, sum."""
    x = body(net)
    y = net.op("Transpose", net.conv(x, (8, 1, 3, 3), group=8, name="depth", **PADS), perm=[0, 2, 3, 1])
    y = net.op("LayerNormalization", y, net.random(8), net.random(8), epsilon=0.1)
    y = net.op("Add", net.op("MatMul", y, net.random(8, 16), name="wide"), net.random(16))
    y = net.op("Add", net.op("MatMul", net.op("Relu", y), net.random(16, 8), name="narrow"), net.random(8))
    y = net.op("Mul", net.op("Transpose", y, perm=[0, 3, 1, 2]), net.random(8, 1, 1))
    return last(net, net.op("Add", x, y), 8)


NARROWED: list[tuple[Build, dict[str, int]]] = [
    (residual, {"first": 4, "branch": 4}),
    (concat, {"first": 4, "branch": 3}),
    (concat_with_the_input, {"first": 4}),
    (depthwise, {"first": 4, "depth": 4}),
    (depthwise_with_multiplier, {"first": 4, "depth": 8}),
    (grouped, {"first": 4, "grouped": 6}),
    (transposed, {"first": 4, "up": 3}),
    (transposed_in_groups, {"first": 4, "up": 4}),  # 3 in each group: 2 are nearest to 1.5
    (transposed_depthwise, {"first": 4, "up": 4}),
    (squeeze_and_excite, {"first": 4, "squeeze": 2, "excite": 4}),
    (spatial_attention, {"first": 4, "map": 1}),
    (constants_of_every_shape, {"first": 4}),
    (flatten_map, {"first": 4, "hidden": 5}),
    (reshape_to_a_number, {"first": 4}),
    (reshape_to_the_rest, {"first": 4}),
    (tokens, {"first": 4, "tokens": 6}),
    (size_from_shape, {"first": 4}),
    (split_equally, {"first": 4}),
    (split_by_size, {"first": 4, "side": 2}),
    (slice_of_channels, {"first": 5}),
    (one_step_in_two, {"first": 4}),
    (shuffle_unit, {"first": 6, "squeeze": 6, "depth": 6, "expand": 6}),
    (shuffle_chain, {"first": 8, "unit0": 4, "unit1": 4, "unit2": 4}),
    (transposed_depthwise_with_multiplier, {"first": 4, "up": 8}),
    (space_to_depth, {"first": 4}),
    (pixel_unshuffle, {"first": 4}),
    (pixel_shuffle, {"first": 8}),
    (tile, {"first": 4}),
    (one_channel_as_gate, {"first": 5}),  # the one that is picked stays
    (resize_by_sizes_of_named_axes, {"first": 4}),
    (group_norm, {"first": 4}),
    (group_norm_in_pieces, {"first": 4}),
    (layer_norm_over_space, {"first": 4}),
    (softmax_over_space, {"first": 4}),
    (gelu, {"first": 4}),
    (sampled, {"first": 4}),
    (convnext, {"first": 8, "depth": 8, "wide": 8, "narrow": 8}),
    (gather_of_channels, {"first": 4}),  # two of those that are picked, two of the others
    (gather_by_a_table, {"first": 4}),
    (option_a_shortcut, {"first": 2, "wide": 4}),
    (shuffle, {"first": 4}),
    (depth_to_space, {"first": 8}),
    (depth_to_space_crd, {"first": 8}),
    (resize_by_sizes, {"first": 4}),
    (instance_norm, {"first": 4}),
    (expand, {"first": 4}),
    (joined_in_space, {"first": 4, "below": 4}),
    (shared_weights, {"first": 4, "once": 4, "twice": 4}),
    (shared_bias, {"first": 4, "one": 4, "two": 4}),
]


@pytest.mark.parametrize(("build", "expected"), NARROWED, ids=lambda value: getattr(value, "__name__", ""))
def test_narrowed(build: Build, expected: dict[str, int]) -> None:
    pruned = prune(load(build(Net())), HALF)
    found = widths(pruned)
    assert {name: found[name] for name in expected} == expected, pruned.skipped
    assert_twin(pruned, ("disabled", "basic", "extended", "all"))


# -- walls --------------------------------------------------------------------------------------------------


def output(net: Net) -> onnx.ModelProto:
    return net.model(body(net))


def softmax(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Softmax", body(net), axis=1), 8)


def local_response(net: Net) -> onnx.ModelProto:
    return last(net, net.op("LRN", body(net), size=3), 8)


def mean_of_channels(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Mul", "x", net.op("ReduceMean", body(net), axes=[1])), 3)


def tied_to_the_input(net: Net) -> onnx.ModelProto:
    return last(net, net.op("Add", body(net, 3), "x"), 3)


def counted(net: Net) -> onnx.ModelProto:
    x = body(net)
    count = net.op("Cast", net.op("Gather", net.op("Shape", x), np.array(1)), to=1)
    return last(net, net.op("Div", x, count), 8)


def calculated_weights(net: Net) -> onnx.ModelProto:
    weights = net.op("Relu", net.random(4, 8, 1, 1))
    return last(net, net.op("Conv", body(net), weights, name="odd"), 4)


def read_by_a_subgraph(net: Net) -> onnx.ModelProto:
    x = body(net)
    then, other = net.body(), net.body()
    y = net.op(
        "If",
        net.op("Greater", net.op("ReduceMax", x, keepdims=0), net.array(0.5)),
        then_branch=then.graph(then.op("Relu", x)),
        else_branch=other.graph(other.op("Neg", x)),
    )
    return last(net, net.op("Reshape", y, ints(1, 8, 8, 8)), 8)


WALLED: list[tuple[Build, str]] = [
    (output, "model output"),
    (softmax, "Softmax"),
    (local_response, "LRN"),
    (mean_of_channels, "ReduceMean"),
    (tied_to_the_input, "'x', which stays whole"),
    (counted, "calculates with their number"),
    (calculated_weights, "computes its weights"),
    (read_by_a_subgraph, "subgraph"),
]


@pytest.mark.parametrize(("build", "reason"), WALLED, ids=lambda value: getattr(value, "__name__", ""))
def test_walled(build: Build, reason: str) -> None:
    pruned = prune(load(build(Net())), HALF)
    whole = next(node for node in pruned.before.graph.nodes if node.name == "first")
    assert widths(pruned)["first"] == whole.inputs[1].constant.shape[0]
    assert reason in pruned.skipped["first"]
    assert_twin(pruned)


def test_what_one_normalisation_spans_goes_only_when_that_is_allowed() -> None:
    strict = prune(load(convnext(Net())), HALF)
    assert "allow_inexact" in strict.skipped["first"]
    loose = prune(load(convnext(Net())), replace(HALF, allow_inexact=True))
    found = widths(loose)
    assert {name: found[name] for name in ("first", "depth", "wide", "narrow")} == {
        "first": 4,
        "depth": 4,
        "wide": 8,
        "narrow": 4,
    }
    assert loose.coupling.inexact >= set(loose.coupling.on(loose.coupling.layers[0].ids).tolist())


def test_groups_lose_their_own_least_important_channels() -> None:
    """Channels 0 and 1 of the first group and 2 and 3 of the second are nearly nothing."""
    net = Net()
    weight = net.rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[[0, 1, 6, 7]] *= 0.01
    y = net.op("Relu", net.op("Conv", net.input(), weight, name="first", **PADS))
    pruned = prune(load(last(net, net.conv(y, (4, 4, 3, 3), group=2, name="grouped"), 4)), HALF)
    first = pruned.coupling.layers[0]
    assert np.flatnonzero(pruned.coupling.kept(first.ids, pruned.keep)).tolist() == [2, 3, 4, 5]
    assert_twin(pruned)


def test_a_shuffle_becomes_one_gather() -> None:
    pruned = prune(load(shuffle(Net())), HALF)
    assert [node.op for node in pruned.after.graph.nodes] == ["Conv", "Relu", "Gather", "Conv"]


# -- what else can be strange -------------------------------------------------------------------------------


def test_every_layer_is_changed_or_has_its_reason() -> None:
    pruned = prune(load(squeeze_and_excite(Net())), HALF)
    assert pruned.changed == {
        "first": "8 -> 4 output channels",
        "squeeze": "4 -> 2 output channels",
        "excite": "8 -> 4 output channels",
    }
    assert set(pruned.skipped) == {"last"}


def test_half_precision_stays_half() -> None:
    pruned = prune(load(residual(Net(dtype=np.float16))), HALF)
    assert {node.inputs[1].dtype for node in pruned.after.graph.find("Conv")} == {np.dtype(np.float16)}
    assert widths(pruned)["first"] == 4
    assert_twin(pruned, tolerance=2e-2)


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
def test_other_types_stay_what_they_are(dtype: type) -> None:
    """Of bfloat16 this runtime multiplies nothing: norms and zeros tell which channels go."""
    net = Net(dtype=dtype)
    weight = net.rng.uniform(-1, 1, (4, 8))
    weight[:, 2] = 0
    y = net.op("Relu", net.op("MatMul", net.input("v", (2, 4)), weight.astype(dtype), name="first"))
    y = net.op("Gemm", y, net.random(8, 6), net.random(6), name="second")
    net.tell("last.out", (2, 3))
    model = load(net.model(net.op("MatMul", y, net.random(6, 3), name="last")))
    for options in ({"ratio": 0.5}, {"ratio": 0.5, "repair": False}, {}):
        after = copy(model)
        Prune(round_to=1, **options).run(after, context(after))
        after.check()
        types = {node.inputs[1].dtype for node in after.graph.nodes if len(node.inputs) > 1}
        assert types == {np.dtype(dtype)}
        first = next(iter(after.graph.nodes)).inputs[1].constant.shape
        assert first == ((4, 4) if options else (4, 7))


def test_weights_in_constant_nodes_and_behind_identity() -> None:
    net = Net()
    weight = net.op("Identity", net.random(8, 3, 3, 3))
    y = net.op("Conv", net.input(), weight, name="first", **PADS)
    kernel = np.random.default_rng(0).standard_normal((2, 8, 1, 1)).astype(np.float32)
    pruned = prune(load(net.model(net.op("Conv", y, net.op("Constant", value=kernel), name="last"))), HALF)
    assert widths(pruned) == {"first": 4, "last": 2}
    assert not list(pruned.after.graph.find("Identity", "Constant"))  # nothing reads the old ones
    assert_twin(pruned)


def test_a_weight_that_stays_in_use_elsewhere_is_copied() -> None:
    net = Net()
    weight = net.random(8, 3, 1, 1)
    y = net.conv(net.input(), (8, 3, 1, 1), weight=weight, name="first")
    proto = net.model(net.conv(y, (2, 8, 1, 1), name="last"), net.op("ReduceSum", weight, keepdims=0))
    pruned = prune(load(proto), HALF)
    assert widths(pruned)["first"] == 4
    assert_twin(pruned)


def test_replaceable_weights_are_left_alone() -> None:
    net = Net()
    y = net.conv(net.input(), (8, 3, 1, 1), name="first")
    proto = net.model(net.conv(y, (2, 8, 1, 1), name="last"), listed=["first.weight"])
    pruned = prune(load(proto), HALF)
    assert "callers replace" in pruned.skipped["first"]


def test_an_unknown_operator_is_a_wall() -> None:
    net = Net()
    y = net.op("Scramble", body(net), domain="somewhere.else")
    net.tell("out", (1, 2, 8, 8))
    net.node("Conv", [y, net.random(2, 8, 1, 1)], ["out"], name="last")
    proto = net.model("out", domains=["somewhere.else"])
    model = load(proto)
    pruned = prune(model, HALF, {"x": (1, 3, 8, 8)})
    assert "Scramble" in pruned.skipped["first"]
    assert pruned.after.to_bytes() == model.to_bytes()


def test_stale_shapes_are_forgotten() -> None:
    proto = onnx.shape_inference.infer_shapes(residual(Net()))
    assert len(proto.graph.value_info) > 0
    pruned = prune(load(proto), HALF)
    onnx.shape_inference.infer_shapes(
        onnx.load_from_string(pruned.after.to_bytes()), strict_mode=True, check_type=True
    )


def test_the_widest_cell_makes_up_for_what_stays_beside_it() -> None:
    """A window over 33 channels leaves cells of 3 and 30: at multiples of 8 the layer has 24 or 16 in all."""
    net = Net()
    x = body(net, 33)
    y = net.conv(net.op("Slice", x, ints(0), ints(3), ints(1)), (4, 3, 1, 1))
    z = net.conv(net.op("Slice", x, ints(3), ints(33), ints(1)), (4, 30, 1, 1))
    pruned = prune(load(last(net, net.op("Add", y, z), 4)), replace(HALF, round_to=8))
    assert widths(pruned)["first"] == 16
    assert_twin(pruned)


def test_a_route_may_begin_where_another_ends() -> None:
    """Channels turned round, shuffled, and read in front of the shuffle too."""
    net = Net()
    x = net.op("Slice", body(net), ints(-1), ints(-(2**31)), ints(1), ints(-1))
    y = net.op("Transpose", net.op("Reshape", x, ints(0, 2, 4, 8, 8)), perm=[0, 2, 1, 3, 4])
    y = net.op("Concat", x, net.op("Reshape", y, ints(0, 8, 8, 8)), axis=1)
    pruned = prune(load(last(net, y, 16)), HALF)
    assert widths(pruned)["first"] == 4
    assert_twin(pruned)
