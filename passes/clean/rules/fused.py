"""The parts of a graph that runtimes fuse into one kernel: other rules leave them as they are.

A constant factor that moves from such a part into the layer after it saves one multiplication and costs the
fusion, which saves four.  The same holds for nodes that two parts would share, and for a scale of ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.ir import Graph, Node, Tensor
from graphopt.passes.clean.rules.base import View
from graphopt.passes.clean.rules.normalization import written_out_norm
from graphopt.passes.clean.rules.patterns import gelu
from graphopt.passes.clean.rules.products import Product, product_of, scalar


def fused_nodes(graph: Graph, view: View) -> dict[Node, Node]:
    """Return the nodes of ``graph`` that a runtime fuses, each with the node that ends its part."""
    ends: dict[Node, Node] = {}
    for node in graph.find("Mul", "Div", "Add"):
        source = _source(node, view)
        if source is not None:
            ends |= dict.fromkeys(_between(source, node), node)
    return ends


def _source(node: Node, view: View) -> Tensor | None:
    """The tensor that a part ending at ``node`` works on; None when none ends there."""
    if norm := written_out_norm(node, view):
        return norm.source
    if node.op == "Add" or (node.op == "Div" and not scalar(node.inputs[1], view)):
        return None
    product = product_of(node, view)
    if activation := gelu(product, view):
        return activation.source
    return _gated_by_sigmoid(product, view)


def _gated_by_sigmoid(product: Product, view: View) -> Tensor | None:
    """Match x * Sigmoid(a * x) and return x."""
    if product.coefficient != 1 or len(product.factors) != 2:
        return None
    for source, gate in (product.factors, product.factors[::-1]):
        node = gate.producer
        if node is None or node.op != "Sigmoid" or not node.is_standard or not gate.is_private:
            continue
        scaled = node.inputs[0].producer
        if node.inputs[0] is source:
            return source
        if scaled is not None and scaled.op == "Mul" and source in scaled.inputs:
            other = scaled.inputs[1] if scaled.inputs[0] is source else scaled.inputs[0]
            if scalar(other, view) is not None:
                return source
    return None


def _between(source: Tensor, end: Node) -> Iterator[Node]:
    """Yield the nodes on the ways from ``source`` to ``end``, ``end`` included."""
    seen = {end}
    pending = [end]
    while pending:
        node = pending.pop()
        yield node
        for tensor in node.inputs:
            maker = tensor.producer
            if tensor is not source and maker is not None and maker not in seen and maker.graph is end.graph:
                seen.add(maker)
                pending.append(maker)
