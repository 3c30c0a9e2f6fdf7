"""Which nodes a pattern means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.pipeline.contract.patterns import matches_layer, matches_name, refuse_unmatched
from tests.corpus._net import Net


def model() -> ir.Model:
    """A named convolution, and a Relu without a name that makes "relu.out"."""
    net = Net(0)
    out = net.op("Relu", net.conv(net.input(), (4, 3, 1, 1), name="/stem/Conv"), name="relu")
    proto = net.model(out)
    proto.graph.node[-1].name = ""
    return ir.from_bytes(proto.SerializeToString())


def meant(match: Callable[[ir.Node, str], bool], pattern: str) -> list[str]:
    return [node.op for node in model().graph.nodes if match(node, pattern)]


@pytest.mark.parametrize(
    "pattern, ops",
    [
        ("/stem/Conv", ["Conv"]),
        ("/stem/*", ["Conv"]),
        ("/stem/Conv.out", ["Conv"]),  # what a node makes names it as well
        ("/stem/Con?", ["Conv"]),
        ("relu.out", ["Relu"]),
        ("*", ["Conv", "Relu"]),
        ("Conv", []),  # an operator type is no name
        ("/STEM/*", []),
        ("", []),
    ],
)
def test_a_pattern_means_nodes_by_their_name_or_their_output_s(pattern: str, ops: list[str]) -> None:
    assert meant(matches_name, pattern) == ops


@pytest.mark.parametrize(
    "pattern, ops",
    [
        ("Conv", ["Conv"]),
        ("Con?", []),  # types are written out
        ("/stem/*", ["Conv"]),
        ("/stem/Conv.out", []),  # an output names only what has no name itself
        ("relu.*", ["Relu"]),
    ],
)
def test_a_pattern_means_layers_by_their_name_or_type(pattern: str, ops: list[str]) -> None:
    assert meant(matches_layer, pattern) == ops


def test_a_pattern_that_names_nothing_is_refused() -> None:
    refuse_unmatched(model(), "cast", {"keep": ("/stem/*", "relu.out"), "other": ()})
    with pytest.raises(UsageError, match=r"cast: keep=/stme/\* matches no node of the model"):
        refuse_unmatched(model(), "cast", {"keep": ("relu.out", "/stme/*")})
