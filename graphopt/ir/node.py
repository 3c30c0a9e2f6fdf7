"""Nodes of the live graph: graphsurgeon's Node with identity, kept protos and attributes parsed when read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import NodeProto, numpy_helper

from graphopt.ir.edges import Links
from graphopt.ir.io.attributes import Attributes
from graphopt.ir.tensor import Constant, Tensor

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph

STANDARD_DOMAINS = (None, "", "ai.onnx")


class Node(gs.Node):  # type: ignore[misc,name-defined]
    """One operation.  Two nodes are equal only when they are the same object."""

    __slots__ = ("_attrs", "_inputs", "_outputs", "domain", "graph", "name", "op", "proto")

    graph: Graph  # None once the node is removed; typed for the rule, which works on living nodes
    proto: NodeProto | None  # as the file has it; keeps metadata, doc string and unknown attributes

    __setattr__ = object.__setattr__

    def __init__(
        self,
        op: str,
        name: str | None = "",
        attrs: Mapping[str, Any] | None = None,
        inputs: Sequence[Tensor] = (),
        outputs: Sequence[Tensor] = (),
        domain: str | None = None,
    ) -> None:
        self.op = op
        self.name = name or ""
        self.domain = domain
        self.graph = None  # type: ignore[assignment]
        self.proto = None
        self._attrs: Attributes | None = Attributes()
        self._attrs.update(attrs or {})
        self._inputs = Links(self, "outputs")
        self._outputs = Links(self, "inputs")
        self._inputs.fill(inputs or ())
        self._outputs.fill(outputs or ())

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

    def keep_attributes(self) -> None:
        """Make sure that the attributes can be read after the node has left its graph."""
        _ = self.attrs

    @property
    def is_parsed(self) -> bool:
        """Whether somebody has looked at the attributes."""
        return self._attrs is not None

    @property
    def inputs(self) -> Links:
        return self._inputs

    @inputs.setter
    def inputs(self, tensors: Sequence[Tensor]) -> None:
        self._inputs.replace(tensors)

    @property
    def outputs(self) -> Links:
        return self._outputs

    @outputs.setter
    def outputs(self, tensors: Sequence[Tensor]) -> None:
        self._outputs.replace(tensors)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def is_standard(self) -> bool:
        """Whether ONNX itself defines the operator at the model's opset; no pass knows any other."""
        if self.domain not in STANDARD_DOMAINS:
            return False
        return self.graph is None or self.op not in self.graph.undefined

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
        """Yield the graphs among the attributes (bodies of If, Loop, Scan), at any depth if ``recursive``."""
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
