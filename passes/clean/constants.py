"""Constants: lift them out of nodes, and compute beforehand what depends on nothing else."""

from __future__ import annotations

import numpy as np

from graphopt import runtime
from graphopt.ir import Constant, Graph, Node, Tensor
from graphopt.ir.extract import extract
from graphopt.passes.clean.rules import RANDOM, View

# Quantization operators mark what a backend fuses, even between constants.
QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
NEVER_FOLDED = RANDOM | QUANTIZATION | {"Constant"}


def lift_constants(graph: Graph, view: View) -> None:
    """Turn Constant nodes into initializers; let readers of an Identity of a constant read the constant."""
    for node in graph.find("Constant"):
        value = node.attrs.get("value")
        if not isinstance(value, Constant):  # written as value_float, value_ints, ...
            array = node.output.constant
            value = None if array is None else Constant("", array)
        if value is None or graph.is_output(node.output):
            continue
        _become_initializer(graph, node, value)
        view.done += 1  # too many and too dull for the report
    for node in graph.find("Identity"):
        source = node.inputs[0]
        if isinstance(source, Constant) and not graph.is_output(node.output):
            graph.bypass(node)
            view.changed(node.name or source.name, "an identity of a constant")


def _become_initializer(graph: Graph, node: Node, value: Constant) -> None:
    """Let the tensor that a Constant node makes be an initializer of the same name."""
    tensor = node.output
    graph.remove(node)
    _declare(graph, tensor.become(value))


def _declare(graph: Graph, constant: Constant) -> None:
    constant.graph = graph
    graph.initializers.append(constant)


def fold_constants(graph: Graph, view: View, limit: int) -> None:
    """Replace what can be computed now by its value."""
    if any(True for _ in graph.find("Shape", "Size")):  # where shape arithmetic starts
        for node in graph.find():
            _fold_known(graph, node, view)
    nodes = [node for node in _foldable(graph, view, limit) if not _fold_known(graph, node, view)]
    if not nodes:
        return
    members = set(nodes)
    results = [t for n in nodes for t in n.outputs if t.name and any(c not in members for c in t.outputs)]
    values = runtime.evaluate(extract(view.model, nodes, results))
    for tensor in results:
        _replace(graph, tensor, values[tensor.name], view)


def _fold_known(graph: Graph, node: Node, view: View) -> bool:
    """Fold a node whose value the facts already hold; that takes no runtime."""
    if node.op in NEVER_FOLDED or not node.is_standard or len(node.outputs) != 1:
        return False
    if isinstance(node.output, Constant) or (value := view.facts.known_value(node.output)) is None:
        return False
    _replace(graph, node.output, value, view)
    return True


def _replace(graph: Graph, tensor: Tensor, value: np.ndarray, view: View) -> None:
    node = tensor.inputs[0]
    view.changed(node, "its result is known beforehand")
    values = np.ascontiguousarray(value).reshape(value.shape)
    if graph.is_output(tensor):
        graph.remove(node)
        graph.add_node("Constant", [], {"value": Constant("", values)}, outputs=[tensor], like=node)
    elif len(node.outputs) == 1:
        graph.remove(node)
        _declare(graph, tensor.to_constant(values))
    else:
        graph.replace_uses(tensor, graph.add_constant(tensor.name, values))


def _foldable(graph: Graph, view: View, limit: int) -> list[Node]:
    """The nodes, in order, that read only constants and do not blow the file up."""
    nodes: list[Node] = []
    known: set[Tensor] = set()
    for node in graph.find():
        if not node.inputs or not _is_plain(node, graph):
            continue
        fed = all(not t.name or isinstance(t, Constant) or t in known for t in node.inputs)
        if fed and _fits(node, view, limit):
            nodes.append(node)
            known.update(node.outputs)
    return nodes


def _is_plain(node: Node, graph: Graph) -> bool:
    return (
        node.is_standard
        and node.op not in NEVER_FOLDED
        and node not in graph.owners
        and not any(graph.is_output(tensor) for tensor in node.outputs)
    )


def _fits(node: Node, view: View, limit: int) -> bool:
    """Whether the results take at most ``limit`` bytes more than the constants they come from."""
    size = 0
    for tensor in node.outputs:
        shape, dtype = view.facts.static_shape(tensor), view.facts.dtype(tensor)
        if shape is None or dtype is None:
            return False
        size += int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    replaced = sum(t.nbytes for t in node.inputs if isinstance(t, Constant))
    return size <= replaced + limit
