"""If, Loop and Scan that run: conditions known beforehand, bodies that read the graph around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net

cases = Catalogue()
Branch = Callable[[Net, str], str]
SHAPE = (2, 3)
TRUE, FALSE = np.array(True), np.array(False)


def choose(net: Net, condition: str, x: str, then: Branch, other: Branch, name: str = "") -> str:
    """Append an If whose branches are written by two functions of the branch's net and an outer tensor."""
    branches = {}
    for key, write in (("then_branch", then), ("else_branch", other)):
        body = net.body()
        branches[key] = body.graph(write(body, x), name=key)
    return net.tell(net.op("If", condition, name=name, **branches), SHAPE)


def relu(body: Net, x: str) -> str:
    return body.op("Relu", x)


def shifted(body: Net, x: str) -> str:
    return body.op("Add", x, np.full(3, 2, np.float32))


def _constant_condition(value: np.ndarray, then: Branch = relu, other: Branch = shifted) -> onnx.ModelProto:
    net = Net()
    y = choose(net, net.const(value), net.op("Neg", net.input(shape=SHAPE)), then, other)
    return net.model(net.tell(net.op("Sigmoid", y), SHAPE))


def own_constant(body: Net, x: str) -> str:
    """The output of the branch is an initializer of the branch."""
    return body.random(*SHAPE)


def outer_tensor(body: Net, x: str) -> str:
    """The branch gives back the outer tensor as it is."""
    return body.op("Identity", x)


def nested(body: Net, x: str) -> str:
    return choose(body, body.const(FALSE), body.op("Exp", x), relu, shifted)


cases.put("if_true", partial(_constant_condition, TRUE), left(If=0, Relu=1, Add=0))
cases.put("if_false", partial(_constant_condition, FALSE), left(If=0, Relu=0, Add=1))
cases.put("if_true_own_constant", partial(_constant_condition, TRUE, own_constant), left(If=0))
cases.put("if_true_outer_tensor", partial(_constant_condition, TRUE, outer_tensor), left(If=0, Identity=0))
cases.put("if_true_nested", partial(_constant_condition, TRUE, nested), left(If=0, Exp=1, Add=1, Relu=0))
cases.put("if_false_nested_elsewhere", partial(_constant_condition, FALSE, nested), left(If=0, Add=1))
cases.put("if_condition_of_one_element", partial(_constant_condition, np.array([True])), could(If=0))


@cases.add(left(If=0, Not=0, Relu=1))
def if_condition_is_an_expression() -> onnx.ModelProto:
    net = Net()
    condition = net.op("Not", net.op("And", TRUE, FALSE))
    return net.model(choose(net, condition, net.input(shape=SHAPE), relu, shifted))


@cases.add(left(If=1))
def if_condition_is_overridable() -> onnx.ModelProto:
    net = Net()
    y = choose(net, net.const(TRUE, "condition"), net.input(shape=SHAPE), relu, shifted)
    return net.model(y, ir=9, listed=["condition"])


@cases.add(could(If=0))
def if_condition_is_the_known_rank() -> onnx.ModelProto:
    """Exporters ask whether the rank is 2; it is, by declaration."""
    net = Net()
    x = net.input(shape=SHAPE)
    rank = net.op("Size", net.op("Shape", x))
    return net.model(choose(net, net.op("Equal", rank, np.array(2)), x, relu, shifted))


@cases.add(left(If=1, Not=1))
def if_live() -> onnx.ModelProto:
    net = Net()
    condition = net.op("Not", net.input("condition", (), np.bool_))
    return net.model(choose(net, condition, net.input(shape=SHAPE), relu, shifted))


def _same_names(op: str) -> Branch:
    def write(body: Net, x: str) -> str:
        body.const(np.full(3, len(op), np.float32), "local_weight")
        body.node(op, [x, "local_weight"], ["local_result"], name="local_node")
        return body.op("Tanh", "local_result")

    return write


@cases.add(left(If=0, Mul=1, Add=1, Sub=1) | could(Tanh=3))
def inlined_branches_with_equal_names() -> onnx.ModelProto:
    """Three Ifs whose branches name their tensors and nodes alike, which scoping allows."""
    net = Net()
    y = net.input(shape=SHAPE)
    for op in ("Mul", "Add", "Sub"):
        y = choose(net, net.const(TRUE), y, _same_names(op), _same_names("Div"))
    return net.model(y)


@cases.add(left(If=0, Relu=1))
def inlined_branch_makes_the_output() -> onnx.ModelProto:
    """The graph output keeps the name that the If gave it."""
    net = Net()
    return net.model(choose(net, net.const(TRUE), net.input(shape=SHAPE), relu, shifted, name="final"))


@cases.add(left(Exp=1, Add=1))
def only_a_branch_reads_them() -> onnx.ModelProto:
    """An initializer and a node of the outer graph with no reader but a branch two levels down."""
    net = Net()
    x, weight = net.op("Exp", net.input(shape=SHAPE)), net.random(3)

    def deep(body: Net, x: str) -> str:
        return choose(body, "condition", x, lambda inner, x: inner.op("Add", x, weight), relu)

    net.input("condition", (), np.bool_)
    return net.model(choose(net, "condition", x, deep, relu))


@cases.add(left(If=1) | {"keeps": ("in_both",)})
def equal_work_in_both_branches() -> onnx.ModelProto:
    """The same node inside and outside: nodes of a branch cannot serve outside of it."""
    net = Net()
    x = net.input(shape=SHAPE)
    y = choose(net, net.input("condition", (), np.bool_), x, lambda body, x: body.op("Tanh", x), relu)
    return net.model(y, net.op("Tanh", x, name="in_both"))


@cases.add(left(If=1, RandomNormalLike=2), random=True)
def random_nodes_in_a_branch() -> onnx.ModelProto:
    def noise(body: Net, x: str) -> str:
        return body.op("Sub", *(body.op("RandomNormalLike", x) for _ in range(2)))

    net = Net()
    feed = net.op("Greater", net.op("ReduceMax", net.input(shape=SHAPE), keepdims=0), net.array(-1e9))
    return net.model(choose(net, feed, "x", noise, relu))


def _loop(trips: np.ndarray | None, condition: np.ndarray | None, stop: bool = False) -> onnx.ModelProto:
    """Three times v -> v * w + step, w of the outer graph; collects each v."""
    net = Net()
    x, weight = net.input(shape=SHAPE), net.random(3)
    body = net.body()
    body.input("step", (), np.int64)
    body.input("go_on", (), np.bool_)
    value = body.input("value", SHAPE)
    value = body.op("Add", body.op("Mul", value, weight), body.op("Cast", "step", to=1))
    again = body.op("Less", "step", np.array(1)) if stop else body.op("Identity", "go_on")
    body.tell(again, (), np.bool_)
    graph = body.graph(again, body.tell(value, SHAPE), body.tell(body.op("Neg", value), SHAPE))
    initial = [None if c is None else net.const(c) for c in (trips, condition)]
    final, collected = net.many(2, "Loop", *initial, x, body=graph)
    return net.model(net.tell(final, SHAPE), net.tell(collected, (None, *SHAPE)))


LIVE = left(Mul=1, Add=1)
cases.put("loop_constant_trips", partial(_loop, np.array(3), TRUE), could(Loop=0))
cases.put("loop_without_condition", partial(_loop, np.array(3), None), could(Loop=0))
cases.put("loop_once", partial(_loop, np.array(1), TRUE), could(Loop=0))
cases.put("loop_never", partial(_loop, np.array(0), TRUE), could(Loop=0))
cases.put("loop_never_by_condition", partial(_loop, np.array(5), FALSE), could(Loop=0))
cases.put("loop_until_condition", partial(_loop, None, TRUE, stop=True), LIVE)


@cases.add(left(Scan=1))
def scan_with_an_outer_weight() -> onnx.ModelProto:
    net = Net()
    x, weight = net.input("x", (4, 3)), net.random(3)
    body = net.body()
    total = body.input("total", (3,))
    row = body.input("row", (3,))
    total = body.tell(body.op("Add", total, body.op("Mul", row, weight)), (3,))
    graph = body.graph(total, body.tell(body.op("Identity", total), (3,)))
    final, sums = net.many(2, "Scan", net.random(3), x, body=graph, num_scan_inputs=1)
    return net.model(net.tell(final, (3,)), net.tell(sums, (4, 3)))
