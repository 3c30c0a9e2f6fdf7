"""The same computation, or the same constant, twice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from graphopt.ir import Constant, Graph, Node, Tensor
from graphopt.passes.clean.rules.base import RANDOM, View


def merge_equal_nodes(graph: Graph, view: View) -> None:
    """Let the readers of a node read an earlier node that computes the same; never for random operators.

    Parts that a runtime fuses are merged as a whole or not at all: a node that two parts share costs both of
    them the fusion.
    """
    graph.sort()
    twins = _twins(graph)
    for node, twin in twins.items():
        if not _is_whole(node, twin, twins, view):
            continue
        for mine, other in zip(node.outputs, twin.outputs, strict=True):
            graph.replace_uses(mine, other)
        view.changed(node, f"computes what {twin.name or twin.op} computes")
        graph.remove(node)


def _twins(graph: Graph) -> dict[Node, Node]:
    """The nodes that compute what an earlier node computes, in order, each with that node."""
    first: dict[Hashable, Node] = {}
    same: dict[Tensor, Tensor] = {}
    twins: dict[Node, Node] = {}
    for node in graph.find():
        if not node.is_standard or node.op in RANDOM or node in graph.owners or not node.inputs:
            continue
        inputs = tuple(id(same.get(t, t)) if t.name else 0 for t in node.inputs)
        twin = first.setdefault((node.op, node.attribute_bytes(), inputs, len(node.outputs)), node)
        if twin is not node and _can_replace(graph, node, twin):
            twins[node] = twin
            same |= zip(node.outputs, twin.outputs, strict=True)
    return twins


def _is_whole(node: Node, twin: Node, twins: Mapping[Node, Node], view: View) -> bool:
    """Whether merging two nodes leaves no part that a runtime fuses with a node that others read."""
    ends = [view.fused.get(part, part) for part in (node, twin)]
    return ends == [node, twin] or twins.get(ends[0]) is ends[1]


def _can_replace(graph: Graph, node: Node, twin: Node) -> bool:
    """Dropout in training mode is random; outputs of the graph keep their makers."""
    if _is_normalised(node) or _is_normalised(twin):
        return False
    if node.op == "Dropout" or any(graph.is_output(tensor) for tensor in node.outputs):
        return False
    return all(bool(a.name) >= bool(b.name) for a, b in zip(twin.outputs, node.outputs, strict=True))


def _is_normalised(node: Node) -> bool:
    """A layer that can absorb the normalisation after it; as a shared layer it could not."""
    return any(reader.op == "BatchNormalization" for reader in node.output.outputs)


def merge_equal_initializers(graph: Graph, view: View, limit: int | None = None) -> None:
    """Let the readers of a constant read an earlier one of the same type, shape and bytes.

    ``limit`` leaves constants of more bytes alone.
    """
    fixed = {*graph.inputs, *graph.outputs}
    alike: dict[Hashable, list[Constant]] = {}
    for tensor in graph.initializers:
        if isinstance(tensor, Constant) and tensor not in fixed and (limit is None or tensor.nbytes <= limit):
            alike.setdefault((tensor.dtype, tensor.shape), []).append(tensor)
    for group in alike.values():
        if len(group) > 1:
            _merge_group(graph, group, view)
    graph.remove_unused_initializers()


def _merge_group(graph: Graph, group: list[Constant], view: View) -> None:
    first: dict[bytes, Constant] = {}
    for tensor in group:
        twin = first.setdefault(view.model.weights.digest(tensor), tensor)
        if twin is not tensor:
            graph.replace_uses(tensor, twin)
            view.changed(tensor.name, f"a constant equal to {twin.name}")
