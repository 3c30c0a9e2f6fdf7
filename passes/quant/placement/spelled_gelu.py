"""Nodes that spell a GELU, which runtimes compute in one float kernel as long as none of them is stored.

``x / sqrt 2 -> Erf -> + 1 -> * x -> * 0.5``, the half before or behind, the quotient as a product.  With one
of the products in integers the rest is computed node by node, in several times the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir import Graph, Node, Tensor

REASON = "it is part of a GELU, which {} computes in one float kernel"


def spelled_gelus(graph: Graph) -> Iterator[Node]:
    """The nodes around each Erf that make a GELU of it."""
    for error in graph.find("Erf"):
        argument = error.inputs[0].producer
        gate = _only(error.output, "Add")
        if gate is None or argument is None or argument.op not in ("Div", "Mul"):
            continue
        product = _only(gate.output, "Mul")
        if product is None:
            continue
        yield from (argument, gate, product)
        half = _only(product.output, "Mul")
        if half is not None and _has_number(half):
            yield half
        for tensor in product.inputs:
            maker = tensor.producer
            if maker is not None and maker is not gate and maker.op == "Mul" and _has_number(maker):
                yield maker  # x * 0.5


def _only(tensor: Tensor, op: str) -> Node | None:
    """The only consumer of a tensor, if it is of this type."""
    consumers = tensor.consumers
    return consumers[0] if len(consumers) == 1 and consumers[0].op == op else None


def _has_number(node: Node) -> bool:
    return any(tensor.constant is not None and tensor.constant.size == 1 for tensor in node.inputs)
