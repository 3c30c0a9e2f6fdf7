"""Constants: lift them out of nodes, and compute beforehand what depends on nothing else."""

from __future__ import annotations

import logging
import math

import numpy as np

from graphopt.errors import ModelError
from graphopt.ir import Array, Constant, Graph, Node, Tensor
from graphopt.ir.analysis.subgraph import extract
from graphopt.passes.clean.folding.budget import SHAPE_BYTES, FileBudget
from graphopt.passes.clean.folding.evaluation import evaluate
from graphopt.passes.clean.rules.base import RANDOM, View

LOGGER = logging.getLogger(__name__)
WORKSPACE = 2**26  # memory: bytes that one result may take on the way to what is kept

# Quantization operators mark what a backend fuses, even between constants.
QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
NEVER_FOLDED = RANDOM | QUANTIZATION | {"Constant", "Dropout"}  # Dropout may be in training mode


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


def fold_constants(graph: Graph, view: View, budget: FileBudget) -> None:
    """Replace what can be computed now by its value, as far as the file may grow."""
    if any(True for _ in graph.find("Shape", "Size")):  # where shape arithmetic starts
        for node in graph.find():
            _fold_known(graph, node, view, budget)
    nodes = _affordable(graph, [n for n in _foldable(graph, view) if n.graph is graph], view, budget)
    for tensor, value in _evaluated(graph, nodes, view).items():
        _replace(graph, tensor, value, view)


def _fold_known(graph: Graph, node: Node, view: View, budget: FileBudget) -> None:
    """Fold a node whose value the facts already hold; that takes no runtime."""
    if node.op in NEVER_FOLDED or not node.is_standard or len(node.outputs) != 1:
        return
    if isinstance(node.output, Constant) or (value := view.facts.known_value(node.output)) is None:
        return
    stored = value.nbytes
    if stored > SHAPE_BYTES:
        stored = budget.constant_bytes(node.output, stored, value.ndim)
    if budget.take(stored, budget.node_bytes(node) + budget.private_bytes(node)):
        _replace(graph, node.output, value, view)


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


def _foldable(graph: Graph, view: View) -> list[Node]:
    """The nodes, in order, that read only constants and make tensors of known and bearable size."""
    nodes: list[Node] = []
    computed: set[Tensor] = set()
    for node in graph.find():
        if not node.inputs or not _is_plain(node, graph):
            continue
        fed = all(not t.name or isinstance(t, Constant) or t in computed for t in node.inputs)
        if fed and (size := _result_bytes(node, view)) is not None and size <= WORKSPACE:
            nodes.append(node)
            computed.update(node.outputs)
    return nodes


def _affordable(graph: Graph, nodes: list[Node], view: View, budget: FileBudget) -> list[Node]:
    """Leave out what would let the file grow more than it may.

    From the last node to the first: a node that others still need is worth the bytes that go with it and with
    what only it reads.
    """
    freed = _freed_bytes(nodes, budget)
    folded = set(nodes)
    for node in reversed(nodes):
        kept = [t for t in node.outputs if t.name and any(c not in folded for c in t.outputs)]
        if not budget.take(sum(_stored_bytes(tensor, view) for tensor in kept), freed[node]):
            folded.discard(node)
    return [node for node in nodes if node in folded]


def _freed_bytes(nodes: list[Node], budget: FileBudget) -> dict[Node, int]:
    """What goes from the file with each node: it, and what makes or holds the tensors that only it reads."""
    freed: dict[Node, int] = {}
    for node in nodes:
        makers = {t.producer for t in node.inputs if t.is_private and t.producer in freed}
        freed[node] = budget.node_bytes(node) + budget.private_bytes(node)
        freed[node] += sum(freed[maker] for maker in makers if maker is not None and len(maker.outputs) == 1)
    return freed


def _stored_bytes(tensor: Tensor, view: View) -> int:
    """What a tensor of known size takes in the file as a constant."""
    shape, dtype = view.facts.static_shape(tensor) or (), view.facts.dtype(tensor)
    payload = math.prod(shape) * (dtype.itemsize if dtype is not None else 0)
    if payload <= SHAPE_BYTES:
        return payload
    return FileBudget.constant_bytes(tensor, payload, len(shape))


def _evaluated(graph: Graph, nodes: list[Node], view: View) -> dict[Tensor, Array]:
    """The values of what ``nodes`` make and others read; without those that the runtime cannot compute."""
    if not nodes:
        return {}
    members = set(nodes)
    results = [t for n in nodes for t in n.outputs if t.name and any(c not in members for c in t.outputs)]
    try:
        values = evaluate(extract(view.model, nodes, results))
    except ModelError as error:
        LOGGER.info("%s is not folded as a whole: %s", graph.name, error)
        return _one_by_one(nodes, view)
    return {tensor: values[tensor.name] for tensor in results}


def _one_by_one(nodes: list[Node], view: View) -> dict[Tensor, Array]:
    """The values of nodes that read nothing but constants, each computed alone."""
    values: dict[Tensor, Array] = {}
    for node in nodes:
        results = [tensor for tensor in node.outputs if tensor.name]
        if not all(isinstance(tensor, Constant) or not tensor.name for tensor in node.inputs):
            continue  # the next round sees the values that it reads
        try:
            computed = evaluate(extract(view.model, [node], results))
        except ModelError as error:
            LOGGER.info("'%s' is not folded: %s", node.name, error)
            continue
        values |= {tensor: computed[tensor.name] for tensor in results if tensor.outputs}
    return values


def _is_plain(node: Node, graph: Graph) -> bool:
    return (
        node.is_standard
        and node.op not in NEVER_FOLDED
        and node not in graph.owners
        and not any(graph.is_output(tensor) for tensor in node.outputs)
    )


def _result_bytes(node: Node, view: View) -> int | None:
    """The size of a node's results, when it is known."""
    size = 0
    for tensor in node.outputs:
        shape, dtype = view.facts.static_shape(tensor), view.facts.dtype(tensor)
        if not tensor.name:
            continue
        if shape is None or dtype is None:
            return None
        size += math.prod(shape) * dtype.itemsize
    return size
