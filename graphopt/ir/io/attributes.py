"""Node attributes, parsed when read and written back byte for byte when not changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto
from onnx_graphsurgeon.ir.graph import Graph as SurgeonGraph
from onnx_graphsurgeon.ir.node import Node as SurgeonNode
from onnx_graphsurgeon.ir.tensor import Constant as SurgeonConstant

# Decodes the values that need the graph around them (tensors, subgraphs).
Decoder = Callable[[AttributeProto], Any]
# Turns a Constant into a TensorProto and a Graph into a GraphProto; leaves every other value as it is.
Encoder = Callable[[Any], Any]

_PYTHON_TYPES = {
    AttributeProto.FLOAT: float,
    AttributeProto.INT: int,
    AttributeProto.STRING: str,
    AttributeProto.FLOATS: list[float],
    AttributeProto.INTS: list[int],
    AttributeProto.STRINGS: list[str],
}
GRAPH_KINDS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_NEEDS_GRAPH = (AttributeProto.TENSOR, *GRAPH_KINDS)
_VALUE_FIELDS = ("t", "g", "graphs")


class Attributes(MutableMapping[str, Any]):
    """The attributes of one node, by name.

    Values are int, float, str (bytes when not UTF-8), lists of those, a Constant for a tensor, a Graph
    for a subgraph and a list of Graphs.  Every other kind is handed out as its AttributeProto and only
    carried.
    """

    __slots__ = ("_decode", "_protos", "_values")

    def __init__(self, protos: Iterable[AttributeProto] = (), decode: Decoder | None = None) -> None:
        self._protos: dict[str, AttributeProto] = {p.name: p for p in protos}
        self._values: dict[str, Any] = {}
        self._decode = decode

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        value = self._parse(self._protos[name])
        if isinstance(value, list) or self._protos[name].type in _NEEDS_GRAPH:
            self._values[name] = value  # can be edited in place
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._protos.setdefault(name, AttributeProto(name=name))
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._protos[name]
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._protos)

    def __len__(self) -> int:
        return len(self._protos)

    def __repr__(self) -> str:
        return repr(dict(self))

    def subgraphs(self) -> Iterator[Any]:
        """Yield the graphs among the values."""
        for name, proto in self._protos.items():
            if proto.type in GRAPH_KINDS or name in self._values:
                value = self[name]
                yield from (item for item in _listed(value) if isinstance(item, SurgeonGraph))

    def protos(self, encode: Encoder) -> list[AttributeProto]:
        """Return one AttributeProto an attribute; the untouched ones are those that were read."""
        return [self._export(proto, encode) for proto in self._protos.values()]

    def _export(self, proto: AttributeProto, encode: Encoder) -> AttributeProto:
        if proto.name not in self._values:
            return proto
        value = self._values[proto.name]
        if proto.type not in _NEEDS_GRAPH and proto.type and _same(value, self._parse(proto)):
            return proto
        return _make(proto, value, encode)

    def _parse(self, proto: AttributeProto) -> Any:
        if proto.ref_attr_name:
            return SurgeonNode.AttributeRef(proto.ref_attr_name, _PYTHON_TYPES.get(proto.type))
        if proto.type in _NEEDS_GRAPH and self._decode is not None:
            return self._decode(proto)
        if proto.type in (AttributeProto.STRING, AttributeProto.STRINGS):
            return (
                _text(proto.s) if proto.type == AttributeProto.STRING else [_text(s) for s in proto.strings]
            )
        if proto.type in _PYTHON_TYPES:
            value = onnx.helper.get_attribute_value(proto)
            return value if isinstance(value, (int, float)) else list(value)
        return proto


def _same(value: Any, parsed: Any) -> bool:
    """Whether nothing has changed: unlike equality, NaN is NaN, and 1, 1.0, True and -0.0 differ."""
    return type(value) is type(parsed) and repr(value) == repr(parsed)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _is_kind(value: Any, kind: int) -> bool:
    if kind == AttributeProto.GRAPHS:
        return isinstance(value, list) and all(isinstance(item, SurgeonGraph) for item in value)
    return isinstance(value, SurgeonGraph if kind == AttributeProto.GRAPH else SurgeonConstant)


def _with_value(old: AttributeProto, value: Any, encode: Encoder) -> AttributeProto:
    """Write a tensor or graphs into a copy of the attribute as it was read."""
    if old.type == AttributeProto.TENSOR and encode(value) is old.t:
        return old
    made = AttributeProto()
    made.CopyFrom(old)
    for field in _VALUE_FIELDS:
        made.ClearField(field)
    if old.type == AttributeProto.GRAPHS:
        made.graphs.extend(encode(graph) for graph in value)
    elif old.type == AttributeProto.GRAPH:
        made.g.CopyFrom(encode(value))
    else:
        made.t.CopyFrom(encode(value))
    return made


def _make(old: AttributeProto, value: Any, encode: Encoder) -> AttributeProto:
    """Build the proto of a changed or new attribute; its doc string stays."""
    if isinstance(value, AttributeProto):
        return value
    if old.type in _NEEDS_GRAPH and _is_kind(value, old.type):
        return _with_value(old, value, encode)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, bool):
        value = int(value)
    elif isinstance(value, (list, tuple)):
        value = [int(item) if isinstance(item, bool) else item for item in value]
    if isinstance(value, SurgeonNode.AttributeRef):
        return AttributeProto(name=old.name, ref_attr_name=value.name, type=old.type)
    kind = None
    if isinstance(value, (list, tuple)) and not value:
        kind = old.type or AttributeProto.INTS
    elif old.type in (AttributeProto.FLOAT, AttributeProto.FLOATS) and not isinstance(value, str):
        value = [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)
    encoded = [encode(item) for item in value] if isinstance(value, list) else encode(value)
    made = onnx.helper.make_attribute(old.name, encoded, attr_type=kind)
    if old.doc_string:
        made.doc_string = old.doc_string
    return made
