"""Placement at the inputs of integer operators, for backends that move quantization through the graph.

What a layer reads is stored; what it writes is not.  Such backends compute Conv, Add and activation in one
kernel, so of a residual Add only the operand that no layer makes for it alone is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from graphopt.ir import Graph, Node, Tensor
from graphopt.ir.transform.layer_bias import layer_bias
from graphopt.ir.transform.linear import LAYERS
from graphopt.targets import Target

from .claims import activations, unclaimed
from .placement import Placement, Stored
from .rules import JOINS, refusal


def place_entries(graph: Graph, refused: Callable[[Node], str | None], target: Target) -> Placement:
    """Decide which inputs of which nodes are stored; ``refused`` gives the user's reasons."""
    placement = Placement()
    fed: set[Tensor] = set()  # what layers on integers lead to
    for node in graph.nodes:
        reason = _reason(node, fed, refused, target)
        forgotten = unclaimed(node, activations(node)) if reason is None else None
        reason = reason if forgotten is None else forgotten
        if reason is None:
            placement.integer.append(node)
        elif forgotten or (reason and node.op in LAYERS):
            placement.skips.append((node, reason))
        if (reason is None and node.op in LAYERS) or any(t in fed for t in node.inputs):
            fed.update(node.outputs)
    placement.layers = [n for n in placement.integer if n.op in LAYERS]
    placement.stored = list(_stored(placement.integer, graph, target))
    return placement


def _reason(
    node: Node, fed: set[Tensor], refused: Callable[[Node], str | None], target: Target
) -> str | None:
    """Why a node stays float, None when it runs on integers, empty for one that nobody asks about."""
    is_layer = node.is_standard and node.op in LAYERS
    if not is_layer and (not node.is_standard or node.op not in target.operators.integer):
        return ""
    reason = refused(node) or refusal(node, target)
    if reason or is_layer:
        return reason
    values = [t for t in (node.inputs if node.op in JOINS else node.inputs[:1]) if t.constant is None]
    is_join = node.op not in JOINS or len(values) == len(node.inputs)
    return None if is_join and all(t in fed for t in values) else ""


def _stored(integer: Iterable[Node], graph: Graph, target: Target) -> Iterator[Stored]:
    readers: dict[Tensor, list[Node]] = {}
    order = {node: index for index, node in enumerate(graph.nodes)}
    layers = {node for node in integer if node.op in LAYERS}
    for node in integer:
        for tensor in dict.fromkeys(_entries(node, layers, order, target)):
            readers.setdefault(tensor, []).append(node)
    joined = _joined(graph, readers) if "Concat" in target.operators.shared_scale else {}
    for tensor, nodes in readers.items():
        yield Stored(tensor, _outermost(tensor, joined), readers=tuple(nodes))


def _outermost(tensor: Tensor, joined: Mapping[Tensor, Tensor]) -> Tensor:
    """The Concat that a tensor ends up in, through any number of others."""
    while tensor in joined:
        tensor = joined[tensor]
    return tensor


def _entries(node: Node, layers: set[Node], order: dict[Node, int], target: Target) -> list[Tensor]:
    """The inputs of an integer node that are stored."""
    if node.op not in JOINS:
        return [node.inputs[0]]
    values = list(node.inputs)
    if node.op != "Add" or target.residual != "skip":
        return values
    made = [(order[layer], t) for t in values if (layer := _maker(t, layers)) is not None]
    if not made:
        return values
    backbone = max(made, key=lambda pair: pair[0])[1]
    return [tensor for tensor in values if tensor is not backbone]


def _maker(tensor: Tensor, layers: set[Node]) -> Node | None:
    """The layer that makes a tensor for one reader alone."""
    node = tensor.producer if tensor.is_private else None
    if node is not None and node.op == "Add":
        sources = [t.producer for t in node.inputs if t.producer is not None and t.producer.op == "MatMul"]
        biases = [n for n in sources if (bias := layer_bias(n)) is not None and bias.node is node]
        node = biases[0] if biases else None
    return node if node in layers else None


def _joined(graph: Graph, stored: Iterable[Tensor]) -> dict[Tensor, Tensor]:
    """What enters a Concat whose result is stored takes the scale of the result."""
    wanted = set(stored)
    concats = [node for node in graph.find("Concat") if node.output in wanted]
    return {tensor: node.output for node in concats for tensor in node.inputs if tensor in wanted}
