"""Ends of a network that put unlike numbers into one tensor: boxes in pixels beside scores up to 1.

One scale for both would be that of the boxes, and all scores would become zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphopt.ir import Graph, Node, Tensor

from ..items import node_id
from .placement import Placement
from .rules import MIXERS

# theory: between the spans of what is joined; more costs the narrow one four of its eight bits
FURTHEST = 16.0
REASON = "it joins ranges up to {high:.3g} and {low:.3g} on the way to an output: one scale does not fit both"


def mixed_tails(
    graph: Graph, placement: Placement, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, str]:
    """Each Concat on integers that joins unlike ranges and is not summed again, and all nodes behind it.

    They are given by what a plan calls them, with the reason to leave them float.
    """
    spans = {s.tensor: s.factor * _span(ranges[s.source.name]) for s in placement.stored}
    integer = set(placement.integer)
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        if node.op != "Concat" or node not in integer or not all(t in spans for t in node.inputs):
            continue
        low, high = min(spans[t] for t in node.inputs), max(spans[t] for t in node.inputs)
        behind = list(_behind(node))
        if high > FURTHEST * low and not any(n.op in MIXERS for n in behind):
            reason = REASON.format(high=high, low=low)
            reasons |= {node_id(n): reason for n in (node, *behind) if n.outputs}
    return reasons


def _span(interval: tuple[float, float]) -> float:
    return max(interval[1], 0.0) - min(interval[0], 0.0)


def _behind(node: Node) -> Iterator[Node]:
    """All nodes that a node leads to."""
    pending: list[Tensor] = list(node.outputs)
    seen: set[Node] = set()
    while pending:
        for reader in pending.pop().consumers:
            if reader not in seen:
                seen.add(reader)
                pending.extend(reader.outputs)
                yield reader
