"""What the user's code did to a model: which nodes it added, removed and edited, by identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphopt.ir import Constant, Model, Node, Port, Signature
from graphopt.ir.io.attributes import GRAPH_KINDS
from graphopt.ir.io.exporter import GraphExporter

FIELDS = {"op_type": "operator", "name": "name", "domain": "domain", "input": "inputs", "output": "outputs"}


@dataclass(frozen=True)
class State:
    """A model at one moment."""

    nodes: dict[Node, Any]  # the NodeProto of each, subgraphs included
    weights: dict[Constant, Any]  # the TensorProto of each initializer
    signature: Signature
    opsets: dict[str, int]
    whole: bytes  # the weightless model

    @classmethod
    def of(cls, model: Model) -> State:
        """Record the present state of a model."""
        whole = model.proto().SerializeToString(deterministic=True)
        exporter = GraphExporter(model.weights)
        nodes = {node: exporter.node(node) for graph in model.graphs() for node in graph.nodes}
        constants = [t for graph in model.graphs() for t in graph.initializers if isinstance(t, Constant)]
        weights = {tensor: exporter.initializer(tensor) for tensor in constants}
        return cls(nodes, weights, model.signature, model.opsets, whole)


def changes(before: State, after: State) -> Iterator[tuple[str, str]]:
    """Yield what changed: the name of a node, a weight or the graph, and a phrase."""
    listed = [*_ports(before.signature, after.signature), *_opsets(before, after)]
    listed += _nodes(before.nodes, after.nodes)
    for tensor in before.weights.keys() & after.weights.keys():
        if _weight_bytes(before.weights[tensor]) != _weight_bytes(after.weights[tensor]):
            listed.append((tensor.name, "values changed"))
    if not listed and before.whole != after.whole:
        listed.append(("graph", "declarations changed (names, types, shapes or order)"))
    yield from listed


def _nodes(before: dict[Node, Any], after: dict[Node, Any]) -> Iterator[tuple[str, str]]:
    for node, proto in before.items():
        if node not in after:
            yield _title(proto), f"{proto.op_type} removed"
    for node, proto in after.items():
        if node not in before:
            yield _title(proto), f"{proto.op_type} added"
        elif edits := list(_edits(before[node], proto)):
            yield _title(proto), f"{proto.op_type} edited: {', '.join(edits)}"


def _edits(old: Any, new: Any) -> Iterator[str]:
    """What differs between two protos of one node; edits inside subgraphs belong to the nodes there."""
    if old is new:
        return
    for field, word in FIELDS.items():
        if getattr(old, field) != getattr(new, field):
            yield word
    olds, news = ({a.name: a for a in proto.attribute} for proto in (old, new))
    for name in {**olds, **news}:
        was, now = olds.get(name), news.get(name)
        if was is None or now is None or (not _is_body(was, now) and _bytes(was) != _bytes(now)):
            yield f"attribute {name}"


def _is_body(old: Any, new: Any) -> bool:
    return old.type == new.type and old.type in GRAPH_KINDS


def _ports(before: Signature, after: Signature) -> Iterator[tuple[str, str]]:
    for kind in ("inputs", "outputs", "defaults"):
        was, now = getattr(before, kind), getattr(after, kind)
        if was != now:
            yield "graph", f"{kind} were {_described(was)} and are {_described(now)}"


def _opsets(before: State, after: State) -> Iterator[tuple[str, str]]:
    for domain, version in after.opsets.items():
        if before.opsets.get(domain) != version:
            yield "graph", f"operator set {domain or 'ai.onnx'} is declared in version {version}"


def _described(ports: tuple[Port, ...]) -> str:
    return ", ".join(_port(port) for port in ports) or "none"


def _port(port: Port) -> str:
    shape = "" if port.shape is None else f"[{','.join('?' if s is None else str(s) for s in port.shape)}]"
    return f"{port.name} {port.dtype or ''}{shape}".strip()


def _title(proto: Any) -> str:
    return proto.name or (proto.output[0] if proto.output else proto.op_type)


def _weight_bytes(proto: Any) -> bytes:
    """A weight without its name, which the nodes that read it tell of."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    copy.name = ""
    return _bytes(copy)


def _bytes(proto: Any) -> bytes:
    return proto.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
