"""Which nodes a user's options pick."""

from __future__ import annotations

import pytest

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.pipeline.contract.selection import Selection, first_match, matches, refuse_unmatched
from tests.corpus._net import Net


def model() -> ir.Model:
    """A named convolution, and a Relu without a name that makes "relu.out"."""
    net = Net(0)
    out = net.op("Relu", net.conv(net.input(), (4, 3, 1, 1), name="/stem/Conv"), name="relu")
    proto = net.model(out)
    proto.graph.node[-1].name = ""
    return ir.from_bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    "pattern, ops",
    [
        ("/stem/Conv", ["Conv"]),
        ("/stem/*", ["Conv"]),
        ("/stem/Conv.out", ["Conv"]),  # what a node makes names it as well
        ("/stem/Con?", ["Conv"]),
        ("relu.out", ["Relu"]),
        ("*", ["Conv", "Relu"]),
        ("Conv", ["Conv"]),  # an operator type
        ("Con?", []),  # types are written out
        ("/STEM/*", []),
        ("", []),
    ],
)
def test_a_pattern_means_nodes_by_name_output_or_type(pattern: str, ops: list[str]) -> None:
    assert [node.op for node in model().graph.nodes if matches(node, pattern)] == ops


def test_the_first_pattern_that_means_a_node_is_named() -> None:
    conv = model().graph.nodes[0]
    assert first_match(conv, ("x", "/stem/*", "Conv")) == "/stem/*"
    assert first_match(conv, ("x",)) is None
    assert first_match(conv, ("weig*",), "weight") == "weig*"


def test_a_pattern_that_means_nothing_is_refused() -> None:
    nodes = model().graph.nodes
    refuse_unmatched("cast", {"keep": ("/stem/*", "relu.out"), "other": ()}, nodes)
    refuse_unmatched("distill", {"train": ("weig*",)}, nodes, "weight")
    with pytest.raises(UsageError, match=r"cast: keep=/stme/\* matches no node of the model") as caught:
        refuse_unmatched("cast", {"keep": ("relu.out", "/stme/*")}, nodes)
    assert "inspect MODEL --layers" in caught.value.hint
    with pytest.raises(UsageError, match="prune: exclude=/stem/Cov matches") as caught:
        Selection(exclude=("/stem/Cov",)).check("prune", nodes)
    assert "did you mean '/stem/Conv'?" in caught.value.hint


@pytest.mark.parametrize(
    "selection, is_layer, place, option",
    [
        (Selection(), True, None, None),
        (Selection(exclude=("/stem/*",)), True, None, "exclude=/stem/*"),
        (Selection(include=("Conv",)), True, None, None),
        (Selection(include=("Conv",), exclude=("Conv",)), True, None, "exclude=Conv"),
        (Selection(include=("Gemm",)), True, None, "include"),
        (Selection(include=("Gemm",)), False, None, None),  # it is about layers alone
        (Selection(first=1), True, (0, 3), "skip_first"),
        (Selection(first=1), True, (1, 3), None),
        (Selection(last=1), True, (2, 3), "skip_last"),
        (Selection(last=1), True, (1, 3), None),
    ],
)
def test_the_option_that_leaves_a_node_alone_is_named(
    selection: Selection, is_layer: bool, place: tuple[int, int] | None, option: str | None
) -> None:
    reason = selection.refusal(model().graph.nodes[0], is_layer=is_layer, place=place)
    assert reason == (None if option is None else f"the option {option} leaves '/stem/Conv' alone")
