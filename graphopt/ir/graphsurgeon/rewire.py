"""Names and edges written anew from what the nodes of a model say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphopt.ir.edges import Consumers
from graphopt.ir.graph import Graph
from graphopt.ir.model import Model
from graphopt.ir.tensor import Constant, Tensor, Variable


@dataclass(eq=False)
class _Scope:
    """One graph, the graphs around it, and the tensors it defines by name."""

    graph: Graph
    outer: _Scope | None
    defined: dict[str, Tensor] = field(default_factory=dict)
    declared: set[Tensor] = field(default_factory=set)

    def lookup(self, name: str) -> Tensor | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.defined:
                return scope.defined[name]
            scope = scope.outer
        return None

    def chain(self) -> Iterator[_Scope]:
        scope: _Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


class Rewiring:
    """Makes names unique, connects by name what nothing defines, and links nodes and tensors.

    ``names`` are the names that tensors had before; a tensor that kept its own keeps it now, except that
    nothing takes a name from an input or output of the model.  ``unread`` are initializers that nobody has
    ever read: they stay, others that nobody reads any more go.
    """

    def __init__(self, model: Model, names: Mapping[Tensor, str], unread: set[Tensor]) -> None:
        self._model = model
        self._names = names
        self._unread = unread
        self._scopes = list(self._descend(model.graph, None))
        self._made = dict.fromkeys(t for scope in self._scopes for t in _definitions(scope.graph))
        self._read: dict[Tensor, list[_Scope]] = {}  # the graphs that read each constant

    def run(self) -> None:
        self._settle_names()
        for scope in self._scopes:
            self._define(scope)
        for scope in self._scopes:
            self._resolve(scope)
        self._link()
        for scope in self._scopes:
            self._declare(scope)

    def _descend(self, graph: Graph, outer: _Scope | None) -> Iterator[_Scope]:
        scope = _Scope(graph, outer)
        yield scope
        for node in graph.nodes:
            if node in graph.owners:
                for inner in node.subgraphs():
                    yield from self._descend(inner, scope)

    # -- names --------------------------------------------------------------------------------------------

    def _settle_names(self) -> None:
        """First inputs and outputs, then what kept its name, then what is new; a clash renames the later."""
        main = self._model.graph
        ports = [t for t in dict.fromkeys((*main.inputs, *main.outputs)) if t in self._made]
        inner = [t for t in self._made if t.name and t not in set(ports)]
        kept = {t for t in (*ports, *inner) if self._names.get(t) == t.name}
        taken = {t.name for t in ports if t in kept}
        fresh = self._take([t for t in ports if t not in kept], taken)
        for tensor in inner:
            if tensor in kept and tensor.name in fresh:
                self._rename(tensor)
        taken |= {t.name for t in inner if t in kept}
        self._take([t for t in inner if t not in kept], taken)

    def _take(self, tensors: list[Tensor], taken: set[str]) -> set[str]:
        """Let tensors have their names, or others where those are taken; return the names."""
        names = set()
        for tensor in tensors:
            if tensor.name in taken:
                self._rename(tensor)
            self._model.names.take(tensor.name)
            taken.add(tensor.name)
            names.add(tensor.name)
        return names

    def _rename(self, tensor: Tensor) -> None:
        self._model.names.take(tensor.name)
        tensor.name = self._model.names.unique(tensor.name)

    def _define(self, scope: _Scope) -> None:
        for tensor in _definitions(scope.graph):
            if tensor.name:
                scope.defined.setdefault(tensor.name, tensor)

    def _resolve(self, scope: _Scope) -> None:
        """Read and hand out the defined tensor in place of one that only bears its name."""
        graph = scope.graph
        for node in graph.nodes:
            for index, tensor in enumerate(node.inputs):
                list.__setitem__(node.inputs, index, self._defined(tensor, scope))
        for index, tensor in enumerate(graph.outputs):
            output = graph.outputs[index] = self._defined(tensor, scope)
            if output is not tensor and isinstance(output, Variable) and tensor.dtype is not None:
                output.dtype, output.shape = tensor.dtype, tensor.shape

    def _defined(self, tensor: Tensor, scope: _Scope) -> Tensor:
        if not tensor.name or tensor in self._made:
            return tensor
        defined = scope.lookup(tensor.name)
        return tensor if defined is None else defined

    # -- edges --------------------------------------------------------------------------------------------

    def _link(self) -> None:
        """Write the tensors' ends of all edges."""
        for scope in self._scopes:
            for tensor in _touched(scope.graph):
                tensor._inputs, tensor._outputs = None, Consumers(tensor, "inputs")
        for scope in self._scopes:
            for node in scope.graph.nodes:
                for tensor in node.inputs:
                    list.append(tensor.outputs, node)
                    self._read.setdefault(tensor, []).append(scope)
                for tensor in node.outputs:
                    list.append(tensor.inputs, node)
                    tensor.graph = scope.graph
            for tensor in scope.graph.outputs:
                self._read.setdefault(tensor, []).append(scope)

    def _declare(self, scope: _Scope) -> None:
        """Settle what a graph declares: what is read where it can be seen, and what nobody ever read."""
        graph = scope.graph
        kept = [t for t in graph.initializers if self._stays(t, scope)]
        new = [t for t in _constants(graph) if not any(t in around.declared for around in scope.chain())]
        graph.initializers = list(dict.fromkeys([*kept, *new]))
        scope.declared.update(graph.initializers)
        for tensor in graph.initializers:
            tensor.graph = graph

    def _stays(self, tensor: Tensor, scope: _Scope) -> bool:
        readers = self._read.get(tensor, [])
        is_needed = readers or tensor in self._unread or tensor in scope.graph.inputs
        return bool(is_needed) and not tensor.inputs and all(scope in reader.chain() for reader in readers)


def _definitions(graph: Graph) -> Iterator[Tensor]:
    """Inputs, constants and what the nodes make, in order."""
    yield from graph.inputs
    yield from graph.initializers
    for node in graph.nodes:
        yield from node.outputs
    yield from _constants(graph)


def _constants(graph: Graph) -> Iterator[Constant]:
    """Constants that the graph's own nodes read or that it hands out."""
    for node in graph.nodes:
        yield from (tensor for tensor in node.inputs if isinstance(tensor, Constant))
    yield from (tensor for tensor in graph.outputs if isinstance(tensor, Constant))


def _touched(graph: Graph) -> Iterator[Tensor]:
    yield from graph.inputs
    yield from graph.outputs
    yield from graph.initializers
    for node in graph.nodes:
        yield from node.inputs
        yield from node.outputs
