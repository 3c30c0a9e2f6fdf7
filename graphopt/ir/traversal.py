"""Topological order that leaves a sorted graph as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from graphopt.errors import ModelError

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph, Node
    from graphopt.ir.tensor import Tensor


def sorted_nodes(graph: Graph, nodes: Sequence[Node]) -> list[Node]:
    """Return ``nodes`` so that each stands after the producers of what it reads.

    A node that already does keeps its place; a producer that comes too late moves to just before its
    first reader.  Linear and without recursion.  Raises ModelError when the graph has a cycle.
    """
    done: set[Node] = set()
    entered: set[Node] = set()
    order: list[Node] = []
    for first in nodes:
        if first in done:
            continue
        if all(producer in done for producer in _producers(graph, first)):
            done.add(first)
            order.append(first)
            continue
        stack = [(first, _producers(graph, first))]
        entered.add(first)
        while stack:
            node, waiting = stack[-1]
            producer = next((p for p in waiting if p not in done), None)
            if producer is None:
                stack.pop()
                done.add(node)
                order.append(node)
            elif producer in entered:
                raise ModelError(f"the graph has a cycle through node '{producer.name}' ({producer.op})")
            else:
                entered.add(producer)
                stack.append((producer, _producers(graph, producer)))
    return order


def _producers(graph: Graph, node: Node) -> Iterator[Node]:
    """Nodes of ``graph`` that compute what ``node`` or a subgraph of it reads."""
    for tensor in reads(node):
        for producer in tensor.inputs:
            if producer.graph is graph:
                yield producer


def reads(node: Node) -> Iterator[Tensor]:
    """Yield what a node reads, through its subgraphs too."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield from current.inputs
        for subgraph in current.subgraphs():
            yield from subgraph.outputs
            pending.extend(subgraph.nodes)
