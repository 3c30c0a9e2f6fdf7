"""Find what an edit left as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir.io.exporter import GraphExporter

if TYPE_CHECKING:
    from graphopt.ir.io.weights import Array
    from graphopt.ir.model import Model
    from graphopt.ir.node import Node
    from graphopt.ir.tensor import Tensor


def unchanged(before: Model, after: Model) -> set[str]:
    """Names of the tensors of the main graph that both models compute in the same way from the same inputs.

    ``after`` is ``Model.copy()`` of ``before``, edited.  Nodes with subgraphs count as changed.  The cost is
    linear in the nodes; constants are compared by value unless they lie at the same place in memory.
    """
    after.sort()
    exporters = GraphExporter(before.weights), GraphExporter(after.weights)
    makers = {tensor.name: node for node in before.graph.nodes for tensor in node.outputs if tensor.name}
    same = {t.name for t in before.graph.inputs} & {t.name for t in after.graph.inputs}
    for node in after.graph.nodes:
        twin = makers.get(next((tensor.name for tensor in node.outputs if tensor.name), ""))
        if twin is not None and _is_same(twin, node, exporters) and _read_same(twin, node, same):
            same.update(tensor.name for tensor in node.outputs if tensor.name)
    return same


def _is_same(a: Node, b: Node, exporters: tuple[GraphExporter, GraphExporter]) -> bool:
    """Whether two nodes are of the same kind and name their outputs alike."""
    if (a.op, a.domain or "") != (b.op, b.domain or "") or any(True for _ in b.subgraphs()):
        return False
    if [tensor.name for tensor in a.outputs] != [tensor.name for tensor in b.outputs]:
        return False
    first, second = (exporter.node(node) for exporter, node in zip(exporters, (a, b), strict=True))
    return list(first.attribute) == list(second.attribute)


def _read_same(a: Node, b: Node, same: set[str]) -> bool:
    return len(a.inputs) == len(b.inputs) and all(
        _is_same_tensor(one, other, same) for one, other in zip(a.inputs, b.inputs, strict=True)
    )


def _is_same_tensor(a: Tensor, b: Tensor, same: set[str]) -> bool:
    one, other = a.constant, b.constant
    if one is None or other is None:
        return one is other and a.name == b.name and (not a.name or a.name in same)
    return _is_same_array(one, other)


def _is_same_array(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.ctypes.data == b.ctypes.data and a.strides == b.strides:
        return True
    return np.array_equal(a, b) or (a.tobytes() == b.tobytes())
