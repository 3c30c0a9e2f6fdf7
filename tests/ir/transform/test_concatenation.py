"""Which share of a concatenation's channels is one layer's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphopt import ir
from graphopt.ir.transform.concatenation import concatenated_in, concatenation_share
from tests.corpus._net import Net


def share(join: Callable[[Net, str, str], str]) -> tuple[float, bool]:
    """The share of a convolution of three filters that ``join`` brings together with a tensor of three."""
    net = Net(0)
    x = net.op("Relu", net.input())
    out = join(net, x, net.conv(x, (3, 3, 1, 1), name="conv"))
    model = ir.from_bytes(net.model(out).SerializeToString())
    conv = next(node for node in model.graph.nodes if node.name == "conv")
    return concatenation_share(conv), concatenated_in(conv) is not None


def beside_a_wider_one(net: Net, x: str, y: str) -> str:
    return net.op("Concat", net.op("Relu", y), net.conv(x, (9, 3, 1, 1)), axis=1)


def test_layers_side_by_side_share_by_their_filters() -> None:
    assert share(beside_a_wider_one) == (0.25, True)


@pytest.mark.parametrize(
    ("join", "concatenated"),
    [
        (lambda net, x, y: net.op("Relu", y), False),
        (lambda net, x, y: net.op("Concat", x, y, axis=1), True),  # the input's channels are no layer's
        (lambda net, x, y: net.op("Concat", net.conv(x, (3, 3, 1, 1)), y, axis=2), False),
        (lambda net, x, y: net.op("Concat", net.op("Add", x, y), net.op("Relu", y), axis=1), False),
    ],
)
def test_a_layer_alone_counts_whole(join: Callable[[Net, str, str], str], concatenated: bool) -> None:
    assert share(join) == (1.0, concatenated)
