"""Channels that reach an operator through an operand that its rule is not about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import gather_facts
from tests.corpus._net import Net, ints
from tests.passes.prune.oracle import Pruned, assert_twin, context, load, prune

HALF = Prune(ratio=0.5, round_to=1)
Build = Callable[[Net], onnx.ModelProto]


def vector(net: Net, width: int = 8, rows: int = 1) -> str:
    """Rows of ``width`` channels."""
    return net.op("Relu", net.gemm(net.input("v", (rows, 4)), (4, width), name="maker"))


def image(net: Net, width: int = 8, x: str = "") -> str:
    return net.conv(x or net.input(shape=(1, 3, 6, 6)), (width, 3, 3, 3), bias=True, name="first")


def computed_bias_of_gemm(net: Net) -> onnx.ModelProto:
    y = net.op("Gemm", net.input("w", (1, 5)), net.random(5, 8), vector(net), name="second")
    return net.model(net.gemm(net.op("Relu", y), (8, 3), name="last"))


def computed_column_as_bias_of_gemm(net: Net) -> onnx.ModelProto:
    """Channels along the rows of the sum: they meet every output channel of the second layer."""
    bias = net.op("Transpose", vector(net), perm=[1, 0])
    y = net.op("Gemm", net.input("w", (8, 5)), net.random(5, 6), bias, name="second")
    return net.model(net.gemm(y, (6, 3), name="last"))


def computed_bias_of_conv(net: Net) -> onnx.ModelProto:
    bias = net.op("Reshape", vector(net), ints(-1))
    y = net.op("Conv", net.input(shape=(1, 3, 6, 6)), net.random(8, 3, 1, 1), bias, name="second")
    return net.model(net.conv(y, (2, 8, 1, 1), name="last"))


def computed_bias_of_depthwise_conv(net: Net) -> onnx.ModelProto:
    bias = net.op("Reshape", vector(net), ints(-1))
    y = net.op("Conv", image(net), net.random(8, 1, 1, 1), bias, group=8, name="depth")
    return net.model(net.conv(y, (2, 8, 1, 1), name="last"))


def scale_of_a_layer_norm(net: Net) -> onnx.ModelProto:
    scale = net.op("Reshape", vector(net), ints(-1))
    return net.model(net.op("LayerNormalization", net.input("w", (3, 8)), scale))


def scale_of_a_layer_norm_of_channels(net: Net) -> onnx.ModelProto:
    scale = net.op("Reshape", vector(net), ints(-1))
    x = net.gemm(net.input("w", (3, 5)), (5, 8), name="second")
    return net.model(net.gemm(net.op("LayerNormalization", x, scale), (8, 2), name="last"))


def bias_of_an_instance_norm(net: Net) -> onnx.ModelProto:
    shift = net.op("Reshape", vector(net, 3), ints(-1))
    x = net.input(shape=(1, 3, 6, 6))
    return net.model(net.op("InstanceNormalization", x, net.random(3), shift))


def slope_of_a_prelu(net: Net) -> onnx.ModelProto:
    slope = net.op("Reshape", vector(net, 3), ints(3, 1, 1))
    return net.model(net.op("PRelu", net.input(shape=(1, 3, 6, 6)), slope))


def indices_of_a_gather(net: Net) -> onnx.ModelProto:
    index = net.op("ArgMax", image(net), axis=3, keepdims=0)
    y = net.op("Gather", net.random(6, 5), index)
    return net.model(net.op("ReduceMean", y, axes=[1, 2], keepdims=0))


def indices_of_a_gather_of_channels(net: Net) -> onnx.ModelProto:
    """The same channels come as data and as indices, on different axes of the result."""
    x = image(net)
    index = net.op("Reshape", net.op("ArgMax", x, axis=3, keepdims=0), ints(8, 4))
    y = net.op("Gather", net.conv(x, (5, 8, 1, 1), name="second"), index, axis=3)
    return net.model(net.op("ReduceMean", y, axes=[1, 3], keepdims=0))


def bounds_of_a_clip(net: Net) -> onnx.ModelProto:
    low = net.op("ReduceMin", net.op("Reshape", vector(net), ints(-1)), keepdims=0)
    return net.model(net.op("Clip", net.input(shape=(1, 3, 6, 6)), low))


def updates_of_a_scatter(net: Net) -> onnx.ModelProto:
    updates = net.op("Reshape", vector(net), ints(8))
    y = net.op("ScatterND", net.input("w", (12,)), np.arange(8).reshape(8, 1), updates)
    return net.model(y)


def size_vector_in_another_shape(net: Net) -> onnx.ModelProto:
    """A count of channels that goes through Reshape and becomes the length of something else."""
    x = image(net)
    count = net.op("Reshape", net.op("Gather", net.op("Shape", x), np.array(1)), ints(1))
    ones = net.op("Expand", net.array(1.0), count)
    y = net.op("ReduceSum", ones, keepdims=1)
    return net.model(net.op("Mul", net.conv(x, (2, 8, 1, 1), name="last"), y))


def count_as_an_output(net: Net) -> onnx.ModelProto:
    x = image(net)
    return net.model(net.conv(x, (2, 8, 1, 1), name="last"), net.op("Shape", x))


def count_in_a_subgraph(net: Net) -> onnx.ModelProto:
    x = image(net)
    count = net.op("Gather", net.op("Shape", x), ints(1))
    then, other = net.body(), net.body()
    flag = net.op("Greater", net.op("ReduceMax", "x", keepdims=0), net.array(0.5))
    branches = {
        "then_branch": then.graph(then.op("Cast", count, to=1)),
        "else_branch": other.graph(other.op("Neg", other.op("Cast", count, to=1))),
    }
    y = net.op("Reshape", net.op("If", flag, **branches), ints(1, 1, 1, 1))
    return net.model(net.op("Mul", net.conv(x, (2, 8, 1, 1), name="last"), y))


def count_of_channels_as_a_size_in_space(net: Net) -> onnx.ModelProto:
    x = image(net)
    size = net.op("Gather", net.op("Shape", x), ints(1, 1))
    y = net.op("Resize", "x", None, None, size, axes=[2, 3])
    net.tell("last.out", (1, 2, 4, 4))
    last = net.conv(x, (2, 8, 1, 1), name="last")
    return net.model(last, net.op("ReduceMax", y, keepdims=0), opset=18)


FORGOTTEN: list[Build] = [
    *(computed_bias_of_gemm, computed_column_as_bias_of_gemm, computed_bias_of_conv),
    *(computed_bias_of_depthwise_conv, scale_of_a_layer_norm, scale_of_a_layer_norm_of_channels),
    *(bias_of_an_instance_norm, slope_of_a_prelu, indices_of_a_gather, indices_of_a_gather_of_channels),
    *(bounds_of_a_clip, updates_of_a_scatter, size_vector_in_another_shape, count_as_an_output),
    *(count_in_a_subgraph, count_of_channels_as_a_size_in_space),
]


@pytest.mark.parametrize("build", FORGOTTEN, ids=lambda build: build.__name__)
def test_the_result_is_valid_and_equals_the_twin(build: Build) -> None:
    pruned = prune(load(build(Net())), HALF)
    assert_twin(pruned)


def removed(pruned: Pruned) -> int:
    return sum(len(item["remove"]) for item in pruned.plan.items)


def test_a_computed_bias_goes_with_the_channels_that_it_is_added_to() -> None:
    for build in (computed_bias_of_gemm, computed_bias_of_conv, computed_bias_of_depthwise_conv):
        pruned = prune(load(build(Net())), HALF)
        assert removed(pruned) == 4, build.__name__
        assert_twin(pruned)


def test_indices_that_carry_channels_stay_and_say_so() -> None:
    pruned = prune(load(indices_of_a_gather(Net())), HALF)
    assert removed(pruned) == 0
    assert "Gather" in pruned.skipped["first"]


def test_shapes_that_inference_cannot_tell_are_no_reason_to_guess() -> None:
    """A product whose output has no shape still carries its channels on the last axis."""
    net = Net()
    x = net.gemm(net.input("v", (2, 4)), (4, 6), name="first")
    x = net.op("Reshape", x, ints(1, 2, 6))
    y = net.op("MatMul", x, net.random(6, 2), name="second")
    y = net.op("Transpose", net.op("Relu", y), perm=[0, 2, 1])
    model = load(net.model(net.op("MatMul", y, net.random(2, 3), name="last")))
    facts = gather_facts(model, context(model))
    facts.shapes.pop("second.out")
    coupling = couple(model, facts)
    tensors = {tensor.name: channels for tensor, channels in coupling.carried.items()}
    assert tensors["second.out"].axis == 2
