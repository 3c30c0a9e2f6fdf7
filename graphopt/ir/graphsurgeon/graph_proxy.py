"""The live graph opened for graphsurgeon code that a user brings along.

Its methods do what graphsurgeon's do and bear nodes and tensors made from graphsurgeon's plain classes.
``open_graph`` turns the objects of a model into such ones where they stand;
``graphopt.ir.graphsurgeon.adopt`` turns them back and takes the plain ones in.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import OperatorSetIdProto

from graphopt.errors import ModelError
from graphopt.ir.graph import Graph
from graphopt.ir.graphsurgeon.proxies import NodeProxy, open_tensor
from graphopt.ir.model import Model
from graphopt.ir.tensor import Tensor
from graphopt.ir.traversal import reads


class GraphProxy(Graph):
    """A graph whose methods do what graphsurgeon's do, and bear its plain nodes and tensors."""

    def cleanup(self, *args: Any, **kwargs: Any) -> GraphProxy:
        self._part_names()
        return super(Graph, self).cleanup(*args, **kwargs)  # type: ignore[no-any-return]

    def copy(self, *args: Any, **kwargs: Any) -> gs.Graph:
        self._part_names()
        return super().copy(*args, **kwargs)

    def tensors(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._part_names()
        return super().tensors(*args, **kwargs)  # type: ignore[no-any-return]

    def _part_names(self) -> None:
        """Give tensors of one name different ones, since graphsurgeon's methods would mistake them.

        Inputs and outputs keep theirs, and so does what the model had before.
        """
        made = [t for node in self.nodes for t in (*node.inputs, *node.outputs) if _is_made(t)]
        ports = [*self.inputs, *(t for t in self.outputs if _is_made(t))]
        holders: dict[str, Any] = {}
        for tensor in [*ports, *sorted(made, key=lambda t: not isinstance(t, Tensor))]:
            if tensor.name and holders.setdefault(tensor.name, tensor) is not tensor:
                self.names.take(tensor.name)
                tensor.name = self.names.unique(tensor.name)

    @property
    def nodes(self) -> list[Any]:
        if self._has_removed:
            self._nodes = [node for node in self._nodes if getattr(node, "graph", self) is not None]
            self._has_removed = False
        return self._nodes

    @nodes.setter
    def nodes(self, nodes: Sequence[Any]) -> None:
        self._nodes = nodes if isinstance(nodes, list) else list(nodes)

    def toposort(self, recurse_subgraphs: bool = True, *_: Any, **__: Any) -> GraphProxy:
        """Sort as graphsurgeon does, but keep the order of nodes that are sorted already."""
        if recurse_subgraphs:
            for subgraph in self.subgraphs():
                subgraph.toposort()
        self.nodes = _sorted(self)
        return self

    def layer(self, inputs: Any = None, outputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Add a node as graphsurgeon does, without listing all tensors for a name."""
        read = [self._tensor(item) for item in inputs or ()]
        made = [self._tensor(item) for item in outputs or ()]
        kwargs.setdefault("name", self._fresh("onnx_graphsurgeon_node"))
        node = gs.Node(*args, **{**kwargs, "inputs": read, "outputs": made})
        self.nodes.append(node)
        return node.outputs

    def _tensor(self, item: Any) -> Any:
        if isinstance(item, gs.Tensor):
            return item
        if isinstance(item, str):
            return gs.Variable(self._fresh(item) if item else "")
        if isinstance(item, np.ndarray):
            return gs.Constant(self._fresh("onnx_graphsurgeon_constant"), item)
        if not isinstance(item, (list, tuple, Number)):
            raise TypeError(f"layer() takes tensors, names, arrays and numbers, not {type(item).__name__}")
        parts = item if isinstance(item, (list, tuple)) else [item]
        dtype = np.float32 if any(isinstance(part, float) for part in parts) else np.int64
        return gs.Constant(self._fresh("onnx_graphsurgeon_lst_constant"), np.array(item, dtype))

    def _fresh(self, prefix: str) -> str:
        self.name_idx += 1
        return self.names.unique(f"{prefix}_{self.name_idx - 1}")


def open_graph(model: Model) -> gs.Graph:
    """Open every graph, node and tensor of a model and return its main graph.

    Until it is adopted, the model is of no use to anything but graphsurgeon code.
    """
    model.proto()  # stores what passes have added, so that every constant is a kept one
    for graph in list(model.graphs()):
        graph.opset = model.opset
        graph.import_domains = [_copied(entry) for entry in model.header.opset_import]
        graph.ir_version = model.ir_version
        graph.name, graph.doc_string = graph.header.name, graph.header.doc_string
        for tensor in (*graph.initializers, *graph.inputs, *graph.outputs):
            open_tensor(tensor)
        for node in graph.nodes:
            node.__class__ = NodeProxy
            for tensor in (*node.inputs, *node.outputs):
                open_tensor(tensor)
    for graph in list(model.graphs()):
        graph.__class__ = GraphProxy
    filled = set(model.graph.initializers)
    model.graph.inputs = [t for t in model.graph.inputs if t not in filled]  # as graphsurgeon lists them
    return model.graph


def _is_made(tensor: Any) -> bool:
    """Whether a tensor stands for itself, rather than for another of its name."""
    return bool(tensor.inputs) or isinstance(tensor, gs.Constant)


def _copied(entry: OperatorSetIdProto) -> OperatorSetIdProto:
    return OperatorSetIdProto(domain=entry.domain, version=entry.version)


def _sorted(graph: gs.Graph) -> list[Any]:
    """Kahn's algorithm with the present position as tie-break: a sorted graph stays as it is."""
    nodes = graph.nodes
    places = {id(node): place for place, node in enumerate(nodes)}
    waiting = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for place, node in enumerate(nodes):
        for before in {places[id(p)] for t in reads(node) for p in t.inputs if id(p) in places}:
            waiting[place] += 1
            readers[before].append(place)
    ready = [place for place, count in enumerate(waiting) if not count]
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(nodes[place])
        for reader in readers[place]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise ModelError(f"the graph has a cycle through or before node '{stuck.name}' ({stuck.op})")
    return order
