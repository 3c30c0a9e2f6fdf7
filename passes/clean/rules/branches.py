"""If nodes whose condition is known: the branch takes the node's place."""

from __future__ import annotations

from graphopt.ir import Graph, Node
from graphopt.passes.clean.rules.base import View


def inline_constant_branches(view: View) -> None:
    """Put the chosen branch of every If with a constant condition into the graph around it."""
    for graph in list(view.model.graphs()):
        for node in graph.find("If"):
            condition = view.constant(node.input(0))  # none in a branch that went with its If
            if condition is None or condition.size != 1:
                continue
            chosen = "then_branch" if bool(condition.ravel()[0]) else "else_branch"
            view.changed(node, f"its condition is constant: only {chosen} is left")
            _inline(graph, node, chosen)


def _inline(graph: Graph, node: Node, chosen: str) -> None:
    """Move the nodes of the chosen branch out; the other branch goes with the node."""
    branch: Graph = node.attrs[chosen]
    taken = {t.name for n in graph.nodes for t in n.outputs}
    taken |= {t.name for t in (*graph.inputs, *graph.initializers)}
    for tensor in (*branch.initializers, *(t for inner in branch.nodes for t in inner.outputs)):
        if tensor.name in taken:
            tensor.name = graph.names.unique(tensor.name)
    used = {other.name for other in graph.nodes}
    for inner in branch.nodes:
        if inner.name in used:
            inner.name = graph.names.unique(inner.name)
    results, outputs = list(branch.outputs), list(node.outputs)
    del node.attrs[chosen]  # so that removing the node leaves it alone
    graph.remove(node)
    graph.move_in(branch)
    for result, output in zip(results, outputs, strict=True):
        if output.name:
            graph.add_node("Identity", [result], outputs=[output])
