"""What a layer goes into, as far as graphs can mislead about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphopt import ir
from graphopt.ir.transform.residual import goes_into, residual_sum
from tests.corpus._net import Net


def layer_before(meet: Callable[[Net, str, str], str]) -> tuple[ir.Model, ir.Node]:
    """A convolution whose output ``meet`` brings together with the branch beside it."""
    net = Net(0)
    x = net.op("Relu", net.input())
    out = meet(net, x, net.conv(x, (3, 3, 1, 1), name="conv"))
    model = ir.from_bytes(net.model(out).SerializeToString())
    return model, next(node for node in model.graph.nodes if node.name == "conv")


def summed(net: Net, x: str, y: str) -> str:
    return net.op("Add", x, y)


def read_twice(net: Net, x: str, y: str) -> str:
    return net.op("Concat", net.op("Add", x, y), net.op("Relu", y), axis=1)


def foreign(net: Net, x: str, y: str) -> str:
    return net.tell(net.op("Add", x, y, domain="com.example"), (1, 3, 8, 8))


def test_the_residual_sum_right_behind_a_layer() -> None:
    _, node = layer_before(summed)
    found = residual_sum(node)
    assert found is not None and found.op == "Add"
    assert goes_into(node) is found.output


@pytest.mark.parametrize(
    "meet",
    [
        lambda net, x, y: net.op("Add", y, net.random(1, 3, 1, 1)),
        lambda net, x, y: net.op("Add", y, y),
        lambda net, x, y: net.op("Mul", x, y),
        read_twice,
        foreign,
    ],
    ids=["constant", "doubled", "product", "read twice", "foreign"],
)
def test_else_its_own_output(meet: Callable[[Net, str, str], str]) -> None:
    _, node = layer_before(meet)
    assert residual_sum(node) is None and goes_into(node) is node.output


def test_what_the_model_hands_out_goes_into_no_sum() -> None:
    model, node = layer_before(summed)
    model.graph.outputs.append(node.output)
    assert goes_into(node) is node.output
