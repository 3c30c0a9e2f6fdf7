"""Take what graphsurgeon code left behind back into the live graph.

Everything that is opened is closed, graphsurgeon's plain nodes and tensors are replaced by ours, and both
ends of every edge are written anew from what the nodes say.  A plain object that stands for one of ours
that is gone (same name; for a node, same operator too) brings it back, so that a copy of the graph keeps
its doc strings, metadata and untouched protos.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphopt.errors import ModelError
from graphopt.ir.graph import Graph
from graphopt.ir.graphsurgeon.before import Before, keys_of
from graphopt.ir.graphsurgeon.declarations import (
    complete_ports,
    declare_types,
    everything,
    kind_of,
    list_inputs,
    settle_opsets,
)
from graphopt.ir.graphsurgeon.graph_proxy import GraphProxy
from graphopt.ir.graphsurgeon.proxies import NodeProxy, OpenConstant, OpenVariable, kept_proto, open_tensor
from graphopt.ir.graphsurgeon.rewire import Rewiring
from graphopt.ir.model import Model
from graphopt.ir.node import Node
from graphopt.ir.tensor import Constant, Tensor, Variable

PLAIN = (int, float, str, bytes, list)  # attribute values that can be compared


def is_graph(value: Any) -> bool:
    """Whether ``value`` is a graph that can be adopted, ours or a plain one of graphsurgeon's."""
    return isinstance(value, gs.Graph) and not isinstance(value, gs.Function)


def adopt(model: Model, before: Before, graph: gs.Graph | None = None) -> None:
    """Make ``graph`` the main graph of an opened model and close it; by default its own one.

    Names that clash are made unique, an operator set of a new domain is declared, an output without a type
    gets the one that ONNX infers.  Raises ModelError where this cannot be done.
    """
    content = model.graph if graph is None else graph
    if content.functions:
        raise ModelError(f"the local function '{content.functions[0].name}' cannot be taken over")
    settle_opsets(model, before, content)
    adoption = _Adoption(model, before, content)
    adoption.run()
    Rewiring(model, before.names, before.unread).run()
    if content is model.graph and (content.name, content.doc_string) != before.title:
        model.graph.header.name, model.graph.header.doc_string = content.name, content.doc_string
    list_inputs(model, before)
    declare_types(model, before)
    complete_ports(model)


class _Adoption:
    """Replaces plain objects by ours, graph by graph."""

    def __init__(self, model: Model, before: Before, content: gs.Graph) -> None:
        self._model = model
        self._before = before
        self._content = content
        self._done: dict[int, Any] = {}  # our object for each that was met
        self._met: list[Any] = []  # keeps those alive, so that their ids stay theirs
        self._shared: dict[tuple[str, int], Tensor] = {}  # plain constants by name and value
        present = [item for item in everything(content) if isinstance(item, (Node, Tensor))]
        self._alive = {id(item) for item in present}
        self._node_names = Counter(item.name for item in present if isinstance(item, Node) and item.name)

    def run(self) -> None:
        self._graph(self._content, self._model.graph, ())

    def _graph(self, source: gs.Graph, target: Graph, outer: tuple[Graph, ...]) -> None:
        """Give ``target`` the content of ``source``."""
        scopes = (target, *outer)
        sources = list({id(node): node for node in source.nodes if node.outputs}.values())
        if isinstance(target, GraphProxy):
            target.__class__ = Graph
        for tensor in (*target.initializers, *target.described):
            self._closed(tensor)
        inputs = [self._tensor(tensor, scopes) for tensor in source.inputs]
        nodes = [self._node(node, scopes) for node in sources]
        target.inputs, target.nodes = inputs, nodes
        target.outputs = [self._tensor(tensor, scopes) for tensor in source.outputs]
        target.owners = {node for node in nodes if _holds_graph(node)}

    # -- nodes --------------------------------------------------------------------------------------------

    def _node(self, node: Any, scopes: tuple[Graph, ...]) -> Node:
        inputs = [self._tensor(tensor, scopes) for tensor in node.inputs]
        outputs = [self._tensor(tensor, scopes) for tensor in node.outputs]
        ours = node if isinstance(node, Node) else self._replaced(node, scopes[0])
        if isinstance(ours, NodeProxy):
            ours.close()
        if ours is node and ours.graph is not scopes[0] and self._node_names[ours.name] > 1:
            self._node_names[ours.name] -= 1
            ours.name = self._node_name(ours.name)  # it came from another graph
        ours.graph = scopes[0]
        if ours.is_parsed or ours is not node or any(True for _ in ours.subgraphs()):
            self._attributes(ours, node.attrs, scopes)
        for links, tensors in ((ours.inputs, inputs), (ours.outputs, outputs)):
            list.clear(links)  # this end only: the other ends are written anew
            list.extend(links, tensors)
        return ours

    def _replaced(self, node: Any, target: Graph) -> Node:
        """Our node for a plain one: the one it stands for when that is gone, else a new one."""
        candidates = self._before.nodes.get(target, {})
        for old in (candidates[key] for key in keys_of(node) if key in candidates):
            if id(old) not in self._alive:
                self._alive.add(id(old))
                for name in set(old.attrs) - set(node.attrs):
                    del old.attrs[name]
                old.domain = node.domain or old.domain
                return old
        return Node(node.op, self._node_name(node.name), domain=node.domain)

    def _node_name(self, name: str) -> str:
        """``name``, or another one when a node bears it already."""
        self._model.names.take(name)
        if name and self._node_names[name]:
            name = self._model.names.unique(name)
        self._node_names[name] += 1
        return name

    def _attributes(self, ours: Node, attrs: Any, scopes: tuple[Graph, ...]) -> None:
        for name, value in list(attrs.items()):
            old = ours.attrs.get(name)
            new = self._value(value, old, scopes)
            if new is not old and not (isinstance(new, PLAIN) and new == old and repr(new) == repr(old)):
                ours.attrs[name] = new

    def _value(self, value: Any, old: Any, scopes: tuple[Graph, ...]) -> Any:
        """An attribute's value as our exporter knows it; ``old`` is the one it replaces."""
        if isinstance(value, gs.Tensor):
            return self._constant(value)
        if isinstance(value, gs.Graph):
            return self._subgraph(value, old, scopes)
        if isinstance(value, list) and any(isinstance(item, gs.Graph) for item in value):
            olds = old if isinstance(old, list) and len(old) == len(value) else [None] * len(value)
            return [self._subgraph(item, was, scopes) for item, was in zip(value, olds, strict=True)]
        if isinstance(value, (type, np.dtype)):
            return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value))
        return value

    def _subgraph(self, value: gs.Graph, old: Any, scopes: tuple[Graph, ...]) -> Graph:
        if isinstance(value, Graph):
            target = value
        elif isinstance(old, Graph) and not any(id(node) in self._alive for node in old.nodes):
            target = old
        else:
            target = Graph(name=value.name, names=self._model.names)
            target.decode_attribute = scopes[-1].decode_attribute
        self._graph(value, target, scopes)
        return target

    # -- tensors ------------------------------------------------------------------------------------------

    def _tensor(self, tensor: Any, scopes: tuple[Graph, ...]) -> Tensor:
        if id(tensor) not in self._done:
            if isinstance(tensor, Tensor):
                ours = self._closed(tensor)
            elif isinstance(tensor, gs.Constant):  # copying a graph copies outer constants for each subgraph
                key = (tensor.name, id(tensor._values))
                if key not in self._shared:
                    self._shared[key] = self._constant(tensor, self._gone(tensor, scopes))
                ours = self._shared[key]
            else:
                ours = self._variable(tensor, self._gone(tensor, scopes))
            self._done[id(tensor)] = ours
            self._met.append(tensor)
        return self._done[id(tensor)]  # type: ignore[no-any-return]

    def _gone(self, tensor: Any, scopes: tuple[Graph, ...]) -> Tensor | None:
        """Our tensor of this name, when the graph holds it no more."""
        for scope in scopes:
            old = self._before.tensors.get(scope, {}).get(tensor.name) if tensor.name else None
            if old is not None:
                if id(old) in self._alive:
                    return None
                self._alive.add(id(old))
                return old
        return None

    def _closed(self, tensor: Any) -> Any:
        if isinstance(tensor, OpenVariable):
            tensor.close()
        elif isinstance(tensor, OpenConstant):
            tensor.close(self._model.weights)
        return tensor

    def _variable(self, tensor: Any, old: Tensor | None) -> Tensor:
        if not isinstance(old, Variable):
            new = Variable(tensor.name, tensor.dtype, tensor.shape)
            new.type = tensor.type
            return new
        open_tensor(old)
        if tensor.type == "tensor_type" or tensor.type != kind_of(old):
            old.dtype, old.shape = tensor.dtype, tensor.shape
        return self._closed(old)

    def _constant(self, tensor: Any, old: Tensor | None = None) -> Tensor:
        if isinstance(tensor, Tensor):
            return self._closed(tensor)
        if isinstance(old, Constant):
            open_tensor(old)
            old._values, old._export_dtype = tensor._values, tensor._export_dtype
            return self._closed(old)
        proto = kept_proto(tensor)
        if proto is None:
            return Constant(tensor.name, tensor.values)
        new = Constant.stored(proto, self._model.weights)
        new.name = tensor.name
        return new


def _holds_graph(node: Node) -> bool:
    """Whether a node has subgraphs; a node whose attributes nobody has read has those it came with."""
    old = node.graph is not None and node in node.graph.owners
    return old or (node.is_parsed and any(True for _ in node.attrs.subgraphs()))
