"""Nodes that can go and look-alikes that cannot: Identity, Dropout, duplicates, random and dead nodes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net, floats

cases = Catalogue()


@cases.add(left(Identity=0, Relu=1, Neg=1))
def identity_chain() -> onnx.ModelProto:
    net = Net()
    y = net.op("Relu", net.input())
    for _ in range(3):
        y = net.op("Identity", y)
    return net.model(net.op("Neg", y))


@cases.add(left(Identity=0, Relu=1))
def identity_makes_the_output() -> onnx.ModelProto:
    """The output keeps its name: the Relu has to take it over."""
    net = Net()
    return net.model(net.op("Identity", net.op("Relu", net.input()), name="final"))


@cases.add(left(Identity=0, Relu=1))
def identity_of_the_input() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Relu", net.op("Identity", net.input())))


@cases.add(left(Identity=1))
def identity_from_input_to_output() -> onnx.ModelProto:
    """Both names belong to the signature: one Identity has to stay."""
    net = Net()
    return net.model(net.op("Identity", net.op("Identity", net.input())))


@cases.add(left(Identity=1, Relu=1))
def identity_between_outputs() -> onnx.ModelProto:
    net = Net()
    y = net.op("Relu", net.input())
    return net.model(y, net.op("Identity", y))


@cases.add(left(Identity=1, Relu=1))
def two_identities_two_outputs() -> onnx.ModelProto:
    net = Net()
    y = net.op("Relu", net.input())
    return net.model(net.op("Identity", y), net.op("Identity", y))


@cases.add(left(Relu=1, Neg=1))
def identity_output_read_again() -> onnx.ModelProto:
    """The Relu has a second reader besides the Identity that makes the output."""
    net = Net()
    y = net.op("Relu", net.input())
    return net.model(net.op("Identity", y), net.op("Neg", y))


@cases.add()
def identity_of_initializer_is_output() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Relu", net.input()), net.op("Identity", net.random(2, 3)))


@cases.add(left(Relu=1))
def initializer_is_output() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Relu", net.input()), net.random(2, 3))


def _dropout(*inputs: Any, opset: int = 17, mask: bool = False, **attrs: Any) -> onnx.ModelProto:
    net = Net()
    outputs = net.many(2 if mask else 1, "Dropout", net.op("Relu", net.input()), *inputs, **attrs)
    return net.model(net.op("Neg", outputs[0]), *outputs[1:], opset=opset)


HALF, YES, NO = np.array(0.5, np.float32), np.array(True), np.array(False)
GONE = left(Dropout=0, Relu=1, Neg=1)
cases.put("dropout_opset7", partial(_dropout, opset=7, ratio=0.3), GONE)
cases.put("dropout_opset10", partial(_dropout, opset=10), GONE)
cases.put("dropout_no_ratio", _dropout, GONE)
cases.put("dropout_ratio", partial(_dropout, HALF), GONE)
cases.put("dropout_training_false", partial(_dropout, HALF, NO), GONE)
cases.put("dropout_ratio_absent_training_false", partial(_dropout, None, NO), GONE)
cases.put("dropout_mask_used", partial(_dropout, HALF, mask=True), left(Relu=1, Neg=1))
cases.put("dropout_mask_used_opset10", partial(_dropout, opset=10, mask=True), left(Relu=1, Neg=1))
cases.put("dropout_training_true", partial(_dropout, HALF, YES), left(Dropout=1), random=True)


@cases.add(GONE)
def dropout_mask_unused() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Neg", net.many(2, "Dropout", net.op("Relu", net.input()))[0]))


def _ratio_feeds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32),
        "ratio": np.array(0.25, np.float32),
    }


@cases.add(left(Dropout=0), make_feeds=_ratio_feeds)
def dropout_ratio_is_an_input() -> onnx.ModelProto:
    """The input stays in the signature with nobody left to read it."""
    net = Net()
    return net.model(net.op("Dropout", net.op("Relu", net.input()), net.input("ratio", ())))


@cases.add(left(Dropout=1))
def dropout_training_overridable() -> onnx.ModelProto:
    net = Net()
    y = net.op("Dropout", net.op("Relu", net.input()), HALF, net.const(NO, "training"))
    return net.model(y, ir=9, listed=["training"])


def _two_random(op: str, *, like: bool, **attrs: Any) -> onnx.ModelProto:
    """The difference of two independent draws, plus the input."""
    net = Net()
    x = net.input(shape=(2, 50))
    source = net.op("Sigmoid", x)
    draws = [net.op(op, *([source] if like else []), **attrs) for _ in range(2)]
    return net.model(net.op("Add", x, net.op("Sub", *draws)))


for name, op, attrs in [
    ("two_random_normal_like", "RandomNormalLike", {}),
    ("two_random_uniform_like", "RandomUniformLike", {"low": -1.0, "high": 1.0}),
    ("two_bernoulli", "Bernoulli", {}),
]:
    cases.put(name, partial(_two_random, op, like=True, **attrs), left(**{op: 2}), random=True)
for op, name in [("RandomNormal", "two_random_normal"), ("RandomUniform", "two_random_uniform")]:
    cases.put(name, partial(_two_random, op, like=False, shape=[2, 50]), left(**{op: 2}), random=True)
cases.put(
    "random_normal_seeded",
    partial(_two_random, "RandomNormal", like=False, shape=[2, 50], seed=1.0),
    could(RandomNormal=2),
)


@cases.add(left(Multinomial=2), random=True)
def two_multinomial() -> onnx.ModelProto:
    net = Net()
    x = net.input(shape=(2, 8))
    draws = [net.op("Multinomial", x, sample_size=40) for _ in range(2)]
    return net.model(net.tell(net.op("Sub", *draws), (2, 40), np.int32))


@cases.add(left(Relu=1, Neg=1, Sigmoid=1, Add=1))
def duplicate_nodes() -> onnx.ModelProto:
    """Two equal branches, equal once their first nodes are one."""
    net = Net()
    x = net.input()
    first, second = (net.op("Sigmoid", net.op("Neg", net.op("Relu", x))) for _ in range(2))
    return net.model(net.op("Add", first, second))


@cases.add(left(Identity=0))
def duplicate_node_is_output() -> onnx.ModelProto:
    net = Net()
    x = net.input()
    return net.model(net.op("Relu", x), net.op("Neg", net.op("Relu", x)))


@cases.add()
def duplicate_nodes_are_both_outputs() -> onnx.ModelProto:
    net = Net()
    x = net.input()
    return net.model(net.op("Relu", x), net.op("Relu", x))


@cases.add(left(LeakyRelu=2, Sub=2))
def almost_duplicate_nodes() -> onnx.ModelProto:
    """Other attributes, other order of inputs."""
    net = Net()
    x, z = net.input(), net.input("z")
    ys = [net.op("LeakyRelu", x, alpha=0.1), net.op("LeakyRelu", x, alpha=0.2)]
    return net.model(net.op("Add", *ys), net.op("Mul", net.op("Sub", x, z), net.op("Sub", z, x)))


def _two_ifs(second: str) -> onnx.ModelProto:
    net = Net()
    x, condition = net.input(), net.input("condition", (), np.bool_)
    outputs = []
    for op in ("Relu", second):
        then, other = net.body(), net.body()
        branches = {"then_branch": then.graph(then.op(op, x)), "else_branch": other.graph(other.op("Neg", x))}
        outputs.append(net.op("If", condition, **branches))
    return net.model(net.tell(net.op("Add", *outputs), (1, 3, 8, 8)))


cases.put("duplicate_ifs", partial(_two_ifs, "Relu"), could(If=1))
cases.put("almost_duplicate_ifs", partial(_two_ifs, "Sigmoid"), left(If=2))


@cases.add(left(Conv=1, Sigmoid=0, If=0, Loop=0) | {"max_bytes": 10_000})
def dead_branches() -> onnx.ModelProto:
    """A dead chain with 64 KB of weights and a dead If that reads a living tensor."""
    net = Net()
    x = net.input()
    y = net.conv(x, (4, 3, 3, 3))
    net.op("Sigmoid", net.op("MatMul", x, net.random(8, 2048)))
    then, other = net.body(), net.body()
    branches = {
        "then_branch": then.graph(then.op("Sigmoid", y)),
        "else_branch": other.graph(other.op("Neg", y)),
    }
    net.op("If", net.const(np.array(True)), **branches)
    return net.model(y)


@cases.add(left(Split=1))
def split_with_an_unread_output() -> onnx.ModelProto:
    net = Net()
    parts = net.many(3, "Split", net.input(), axis=1)
    return net.model(net.op("Add", parts[0], parts[2]), opset=13)


@cases.add(left(Relu=1))
def unread_input() -> onnx.ModelProto:
    net = Net()
    net.input("unread", (2, "anything"))
    return net.model(net.op("Relu", net.input()))


@cases.add(could(MatMul=2) | {"max_bytes": 100_000})
def duplicate_initializers() -> onnx.ModelProto:
    """One 64 KB weight stored twice."""
    net = Net()
    weight = net.rng.standard_normal((128, 128)).astype(np.float32)
    y = net.op("Relu", net.op("MatMul", net.input(shape=(1, 128)), weight))
    return net.model(net.op("MatMul", y, weight.copy()))


@cases.add(could(MatMul=2))
def duplicate_initializers_are_outputs() -> onnx.ModelProto:
    net = Net()
    weight = net.rng.standard_normal((4, 4)).astype(np.float32)
    first, second, third = (net.const(weight, name) for name in ("first", "second", "third"))
    y = net.op("Relu", net.op("MatMul", net.input(shape=(1, 4)), first))
    return net.model(net.op("MatMul", net.op("MatMul", y, second), third), second, third)


@cases.add(left(Add=1, Mul=1))
def duplicate_initializer_is_overridable() -> onnx.ModelProto:
    """Equal values today: the caller may give others for one of the two."""
    net = Net()
    y = net.op("Add", net.input(shape=(2, 4)), net.const(np.full(4, 2, np.float32), "shift"))
    y = net.op("Mul", y, net.const(np.full(4, 2, np.float32), "gain"))
    return net.model(y, ir=9, listed=["shift"])


@cases.add(left(Sign=1))
def initializers_of_equal_bytes() -> onnx.ModelProto:
    """Zeros of another type, of another shape and of another sign (1 / -0 is -inf)."""
    net = Net()
    x = net.input(shape=(2, 3))
    y = net.op("Sign", net.op("Div", net.op("Exp", x), floats(0.0, -0.0, 0.0)))
    y = net.op("Add", y, np.zeros(3, np.float32))
    y = net.op("Add", y, floats(-0.0, 0.0, 0.0))
    return net.model(
        net.op("Add", y, np.zeros((2, 1), np.float32)), net.op("Gather", x, np.zeros(3, np.int32))
    )
