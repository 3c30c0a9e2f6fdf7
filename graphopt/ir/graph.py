"""The live graph: graphsurgeon's Node and Graph with identity, constant-time edits and kept protos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, NodeProto, ValueInfoProto, numpy_helper

from graphopt.ir.attributes import Attributes
from graphopt.ir.links import Links
from graphopt.ir.names import Names
from graphopt.ir.order import reads, sorted_nodes
from graphopt.ir.tensor import Constant, Tensor, Variable, replace_links
from graphopt.ir.weights import Array

STANDARD_DOMAINS = (None, "", "ai.onnx")


class Node(gs.Node):  # type: ignore[misc]
    """One operation.  Two nodes are equal only when they are the same object."""

    __slots__ = ("_attrs", "_inputs", "_outputs", "domain", "graph", "name", "op", "proto")

    graph: Graph | None  # None once the node is removed
    proto: NodeProto | None  # as the file has it; keeps metadata, doc string and unknown attributes

    __setattr__ = object.__setattr__

    def __init__(
        self,
        op: str,
        name: str = "",
        attrs: Mapping[str, Any] | None = None,
        inputs: Sequence[Tensor] = (),
        outputs: Sequence[Tensor] = (),
        domain: str | None = None,
    ) -> None:
        self.op = op
        self.name = name
        self.domain = domain
        self.graph = None
        self.proto = None
        self._attrs: Attributes | None = Attributes()
        self._attrs.update(attrs or {})
        self._inputs = Links(self, "outputs")
        self._outputs = Links(self, "inputs")
        self._inputs.fill(inputs)
        self._outputs.fill(outputs)

    @classmethod
    def stored(cls, proto: NodeProto, graph: Graph) -> Node:
        """Wrap a node of the file; its attributes are parsed when read."""
        node: Node = cls.__new__(cls)
        node.op = proto.op_type
        node.name = proto.name
        node.domain = proto.domain or None
        node.graph = graph
        node.proto = proto
        node._attrs = None
        node._inputs = Links(node, "outputs")
        node._outputs = Links(node, "inputs")
        return node

    @property
    def attrs(self) -> Attributes:
        """The attributes by name; see Attributes for the types of the values."""
        if self._attrs is None:
            decode = self.graph.decode_attribute if self.graph is not None else None
            self._attrs = Attributes(self.proto.attribute if self.proto is not None else (), decode)
        return self._attrs

    @attrs.setter
    def attrs(self, values: Mapping[str, Any]) -> None:
        if values is not self._attrs:
            self._attrs = Attributes()
            self._attrs.update(values)

    @property
    def is_parsed(self) -> bool:
        """Whether somebody has looked at the attributes."""
        return self._attrs is not None

    @property
    def inputs(self) -> Links:
        return self._inputs

    @inputs.setter
    def inputs(self, tensors: Sequence[Tensor]) -> None:
        replace_links(self._inputs, tensors)

    @property
    def outputs(self) -> Links:
        return self._outputs

    @outputs.setter
    def outputs(self, tensors: Sequence[Tensor]) -> None:
        replace_links(self._outputs, tensors)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def is_standard(self) -> bool:
        """Whether the operator belongs to ONNX itself."""
        return self.domain in STANDARD_DOMAINS

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self._outputs[0]  # type: ignore[no-any-return]

    def input(self, index: int) -> Tensor | None:
        """Return an input, or None when it is omitted."""
        tensor = self._inputs[index] if index < len(self._inputs) else None
        return tensor if tensor is not None and tensor.name else None

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value, or ``default`` when the node does not have it."""
        return self.attrs.get(name, default)

    def attribute_bytes(self) -> bytes:
        """The attributes in a form that is equal for equal attributes."""
        if self._attrs is None:
            protos = list(self.proto.attribute) if self.proto is not None else []
        else:
            protos = self._attrs.protos(_as_proto)
        return b"\0".join(sorted(proto.SerializeToString(deterministic=True) for proto in protos))

    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]:
        """Yield the graphs among the attributes (bodies of If, Loop, Scan)."""
        if self._attrs is None and not (self.graph is not None and self in self.graph.owners):
            return
        for graph in self.attrs.subgraphs():
            yield graph
            if recursive:
                for node in graph.nodes:
                    yield from node.subgraphs(recursive=True)


def _as_proto(value: Any) -> Any:
    """Encode an attribute value whose proto nobody will write."""
    if isinstance(value, Constant):
        return value.proto if value.is_stored else numpy_helper.from_array(np.ascontiguousarray(value.values))
    return value


class Graph(gs.Graph):  # type: ignore[misc]
    """A graph of nodes and tensors that can be edited in constant time.

    ``nodes`` is a plain list in topological order; what is added goes to the end and is put in place by
    ``sort`` (the exporter sorts).  ``initializers`` lists the constants that the graph declares.
    """

    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str = "graph",
        names: Names | None = None,
        header: GraphProto | None = None,
        **options: Any,
    ) -> None:
        self._nodes: list[Node] = []
        self._has_removed = False
        self._outputs: list[Tensor] = []
        self.initializers: list[Constant | Variable] = []
        self.owners: set[Node] = set()  # nodes of this graph that hold subgraphs
        self.described: list[Tensor | ValueInfoProto] = []  # the file's value_info, in its order
        self.names = names if names is not None else Names()
        self.header = header if header is not None else GraphProto(name=name)
        self.decode_attribute: Any = None
        super().__init__(list(nodes or ()), inputs, outputs, name=name, **options)

    @property
    def nodes(self) -> list[Node]:
        if self._has_removed:
            self._nodes = [node for node in self._nodes if node.graph is self]
            self._has_removed = False
        return self._nodes

    @nodes.setter
    def nodes(self, nodes: Sequence[Node]) -> None:
        self._nodes = list(nodes)

    @property
    def outputs(self) -> list[Tensor]:
        return self._outputs

    @outputs.setter
    def outputs(self, tensors: Sequence[Tensor]) -> None:
        self._outputs = list(tensors)

    def is_output(self, tensor: Tensor) -> bool:
        """Whether the graph hands ``tensor`` out."""
        return any(tensor is output for output in self._outputs)

    def find(self, *ops: str) -> Iterator[Node]:
        """Yield the living nodes of these standard operators (all when none is named), in order.

        Nodes may be added and removed on the way; added ones are not visited.
        """
        for node in list(self.nodes):
            if node.graph is self and (not ops or (node.op in ops and node.is_standard)):
                yield node

    def add_node(
        self,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, Any] | None = None,
        *,
        outputs: int | Sequence[Tensor] = 1,
        name: str | None = None,
        domain: str | None = None,
        like: Node | None = None,
    ) -> Node:
        """Add a node; ``sort`` puts it before its first reader.

        ``outputs`` is a number of new tensors or the tensors themselves.  ``like`` is the node that the
        new one stands for: it gives the name and the metadata.
        """
        hint = name or (like.name if like is not None and like.name else op)
        if isinstance(outputs, int):
            outputs = [Variable(self.names.unique(f"{hint}_output")) for _ in range(outputs)]
        node = Node(op, self.names.unique(hint), attrs, inputs, outputs, domain)
        if like is not None and like.proto is not None:
            node.proto = NodeProto(doc_string=like.proto.doc_string)
            node.proto.metadata_props.extend(like.proto.metadata_props)
        self._adopt(node)
        self._nodes.append(node)
        return node

    def _adopt(self, node: Node) -> None:
        node.graph = self
        if any(True for _ in node.attrs.subgraphs()):
            self.owners.add(node)
        for tensor in node.outputs:
            tensor.graph = self

    def add_constant(self, name: str, values: Array) -> Constant:
        """Add an initializer under a unique name made from ``name``."""
        tensor = Constant(self.names.unique(name), values)
        tensor.graph = self
        self.initializers.append(tensor)
        return tensor

    def set_constant(self, node: Node, index: int, values: Array) -> None:
        """Give a node its own constant as input ``index``; other readers of the old one are not touched.

        A constant that only this node reads keeps its name.
        """
        old = node.input(index)
        if isinstance(old, Constant) and old.is_private and not any(old is t for t in self.inputs):
            old.values = values
            return
        role = {1: "weight", 2: "bias"}.get(index, f"input_{index}")
        new = self.add_constant(old.name if old is not None else f"{node.name or node.op}.{role}", values)
        while len(node.inputs) <= index:
            node.inputs.append(Variable(""))
        node.inputs[index] = new

    def remove_unused_initializers(self) -> int:
        """Remove the initializers that nobody reads; defaults of inputs stay.  Return how many."""
        unused = {t for t in self.initializers if isinstance(t, Constant) and not t.outputs}
        unused -= {t for t in unused if self.is_output(t)}
        if unused:
            self.initializers = [t for t in self.initializers if t not in unused]
            self.inputs = [t for t in self.inputs if t not in unused]
        return len(unused)

    def remove(self, node: Node) -> None:
        """Take a node out of the graph and off its tensors."""
        for graph in node.subgraphs(recursive=True):
            for inner in graph.nodes:
                inner.inputs.clear()
        node.inputs.clear()
        node.outputs.clear()
        node.graph = None
        self.owners.discard(node)
        self._has_removed = True

    def replace_uses(self, old: Tensor, new: Tensor) -> None:
        """Let every reader of ``old`` read ``new``; graph outputs stay."""
        for node in dict.fromkeys(old.outputs):
            node.inputs = [new if tensor is old else tensor for tensor in node.inputs]

    def move_in(self, other: Graph) -> None:
        """Take over the nodes and initializers of a subgraph, names as they are."""
        for node in other.nodes:
            node.graph = self
            for tensor in node.outputs:
                tensor.graph = self
        for tensor in other.initializers:
            tensor.graph = self
        self._nodes.extend(other.nodes)
        self.initializers.extend(other.initializers)
        self.owners |= other.owners

    def bypass(self, node: Node) -> bool:
        """Remove a node whose first output equals its first input; False when its place needs it.

        A graph output keeps its name: the producer of the input takes it over, when it may.
        """
        source, result = node.inputs[0], node.outputs[0]
        if self.is_output(result) and not self._hand_over(node, source, result):
            return False
        if node.graph is self:
            self.replace_uses(result, source)
            self.remove(node)
        return True

    def _hand_over(self, node: Node, source: Tensor, result: Tensor) -> bool:
        """Let the producer of ``source`` write the graph output ``result`` itself."""
        producer = source.producer
        if producer is None or producer.graph is not self or self.is_output(source):
            return False
        self.remove(node)
        producer.outputs = [result if tensor is source else tensor for tensor in producer.outputs]
        self.replace_uses(source, result)
        return True

    def remove_dead(self) -> int:
        """Remove the nodes that no output depends on; return how many."""
        wanted = {tensor for tensor in self.outputs}
        pending = list(self.outputs)
        alive: set[Node] = set()
        while pending:
            for node in pending.pop().inputs:
                if node in alive or node.graph is not self:
                    continue
                alive.add(node)
                for tensor in reads(node):
                    if tensor not in wanted:
                        wanted.add(tensor)
                        pending.append(tensor)
        dead = [node for node in self.nodes if node not in alive]
        for node in dead:
            self.remove(node)
        return len(dead)

    def sort(self) -> None:
        """Put the nodes in topological order; a sorted graph stays as it is."""
        self._nodes = sorted_nodes(self, self.nodes)

    # graphsurgeon's own spellings, for code that users bring along

    def toposort(self, *_: Any, **__: Any) -> Graph:
        self.sort()
        return self

    def cleanup(self, *_: Any, **__: Any) -> Graph:
        self.remove_dead()
        return self

    def layer(self, inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), *args: Any, **kwargs: Any) -> list[Any]:
        """Add a node as graphsurgeon's ``layer`` does, in constant time."""
        op = kwargs.pop("op", None) or args[0]
        attrs, name, domain = kwargs.get("attrs"), kwargs.get("name"), kwargs.get("domain")
        read = [self._as_input(item) for item in inputs]
        made = [Variable(self.names.unique(item)) if isinstance(item, str) else item for item in outputs]
        return list(self.add_node(op, read, attrs, outputs=made, name=name, domain=domain).outputs)

    def _as_input(self, item: Any) -> Tensor:
        if isinstance(item, gs.Tensor):
            return item
        if isinstance(item, str):
            return Variable(self.names.unique(item))
        return self.add_constant("constant", np.asarray(item))
