"""The live graph: graphsurgeon's Graph with constant-time edits and what it would lose on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, NodeProto, ValueInfoProto

from graphopt.ir.io.weights import Array
from graphopt.ir.names import Names
from graphopt.ir.node import STANDARD_DOMAINS, Node
from graphopt.ir.tensor import Constant, Tensor, Variable
from graphopt.ir.traversal import reads, sorted_nodes

__all__ = ["STANDARD_DOMAINS", "Graph", "Node"]


class Graph(gs.Graph):  # type: ignore[misc,name-defined]
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
        self.undefined: frozenset[str] = frozenset()  # operators that ONNX does not define at this opset
        self.described: list[Tensor | ValueInfoProto] = []  # the file's value_info, in its order
        # outputs, by place, that are declared elsewhere too: the tensor, that declaration (None when it comes
        # later in the file), and the output's own
        self.declared_again: dict[int, tuple[Tensor, ValueInfoProto | None, ValueInfoProto]] = {}
        self.names = names if names is not None else Names()
        self.header = header if header is not None else GraphProto(name=name)
        self.decode_attribute: Any = None
        super().__init__(list(nodes or ()), inputs, outputs, name=name, **options)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        """Find a function registered with graphsurgeon, which would log an error for any other name."""
        registered = (self.GLOBAL_FUNC_MAP, self.OPSET_FUNC_MAP.get(self.__dict__.get("opset"), ()))
        if any(name in functions for functions in registered):
            return super().__getattr__(name)
        raise AttributeError(f"a graph has no attribute '{name}'")

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
        """Remove the initializers that nobody reads; return how many.

        Defaults of inputs stay, and the parameters that quantization annotations name.
        """
        annotations = self.header.quantization_annotation
        kept = {entry.value for note in annotations for entry in note.quant_parameter_tensor_names}
        handed_out = set(self.outputs)
        unused = {
            tensor
            for tensor in self.initializers
            if isinstance(tensor, Constant)
            and not tensor.outputs
            and tensor not in handed_out
            and tensor.name not in kept
        }
        if unused:
            self.initializers = [t for t in self.initializers if t not in unused]
            self.inputs: list[Tensor] = [t for t in self.inputs if t not in unused]
        return len(unused)

    def remove(self, node: Node) -> None:
        """Take a node out of the graph and off its tensors."""
        for graph in node.subgraphs(recursive=True):
            for inner in graph.nodes:
                inner.inputs.clear()
        node.keep_attributes()
        node.inputs.clear()
        node.outputs.clear()
        node.graph = None  # type: ignore[assignment]
        self.owners.discard(node)
        self._has_removed = True

    def replace_uses(self, old: Tensor, new: Tensor) -> None:
        """Let every reader of ``old`` read ``new``; graph outputs stay."""
        for node in dict.fromkeys(old.outputs):
            for index, tensor in enumerate(node.inputs):
                if tensor is old:
                    node.inputs[index] = new

    def move_in(self, other: Graph) -> None:
        """Take over the nodes, initializers and declarations of a subgraph, names as they are."""
        for node in other.nodes:
            node.graph = self
            for tensor in node.outputs:
                tensor.graph = self
        for tensor in other.initializers:
            tensor.graph = self
        self._nodes.extend(other.nodes)
        self.initializers.extend(other.initializers)
        self.owners |= other.owners
        self.described.extend(other.described)
        self.header.sparse_initializer.extend(other.header.sparse_initializer)
        self.header.quantization_annotation.extend(other.header.quantization_annotation)

    def bypass(self, node: Node) -> bool:
        """Remove a node whose first output equals its first input; False when its place needs it.

        A graph output keeps its name: the producer of the input takes it over, when it may.  A node whose
        other outputs are used stays.
        """
        source, result = node.input(0), node.output
        if source is None or any(tensor.outputs or self.is_output(tensor) for tensor in node.outputs[1:]):
            return False
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
        result.graph = self
        producer.outputs = [result if tensor is source else tensor for tensor in producer.outputs]
        self.replace_uses(source, result)
        return True

    def remove_dead(self) -> int:
        """Remove the nodes that no output depends on; return how many."""
        wanted = set(self.outputs)
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

    def layer(
        self, inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), *args: Any, **kwargs: Any
    ) -> list[Any]:
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
