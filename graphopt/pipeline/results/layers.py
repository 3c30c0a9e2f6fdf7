"""What became of each layer of a model: the original's nodes beside those of the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import cost
from graphopt.cost.static.layers import computes
from graphopt.record.layers import LayerRecord, NodeFacts

if TYPE_CHECKING:
    from graphopt.ir import Model, Node

MOST_LAYERS = 20_000  # shown: nodes; a table of more helps nobody
PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
LAST_AXIS = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})


@dataclass(frozen=True)
class Seen:
    """One node as it is in a model; ``tensor`` is its first output, ``reads`` are indices of nodes before."""

    layer: cost.Layer
    tensor: str
    reads: tuple[int, ...]
    inner: bool = False  # in a subgraph, where nobody sees its output

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the first output."""
        return self.layer.outputs[0] if self.layer.outputs else None

    @property
    def channels(self) -> int | None:
        """Output channels: the last axis of matrix products, axis 1 of anything else."""
        shape = self.shape
        if shape is None or len(shape) < 2:
            return None
        return shape[-1 if self.layer.op in LAST_AXIS else 1]


def survey(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Seen, ...]:
    """Look at every computing node of a model in order; nothing for a model of too many."""
    nodes = computing_nodes(model)
    if len(nodes) > MOST_LAYERS:
        return ()
    return tuple(
        Seen(layer, first_output(node), reads, node.graph is not model.graph)
        for node, layer, reads in zip(nodes, cost.layers(model, shapes), reads_of(nodes), strict=True)
    )


def computing_nodes(model: Model) -> list[Node]:
    """The nodes that are layers, in the order of ``cost.layers``: those of subgraphs come last."""
    return [node for graph in model.graphs() for node in graph.nodes if computes(node)]


def reads_of(nodes: Sequence[Node]) -> tuple[tuple[int, ...], ...]:
    """For each node the indices of the nodes before it that compute what it reads."""
    index = {node: number for number, node in enumerate(nodes)}
    return tuple(_reads(node, index) for node in nodes)


def first_output(node: Node) -> str:
    """The name of a node's first output, by which viewers know it."""
    return next((tensor.name for tensor in node.outputs if tensor.name), "")


def layer_records(
    before: Sequence[Seen],
    after: Sequence[Seen],
    signals: Mapping[str, float] | None = None,
    times: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {}),
    facts: tuple[Mapping[str, NodeFacts], Mapping[str, NodeFacts]] = ({}, {}),
) -> tuple[LayerRecord, ...]:
    """Match the nodes of a result with those of its original, by name; added nodes stand at the end.

    The pairs that quantization adds are left out.  ``signals`` are ratios by the name of a layer, ``times``
    milliseconds before and after, ``facts`` what the nodes are made of.
    """
    measured = _Measured(signals or {}, times, facts)
    by_name = {seen.layer.name: seen for seen in after}
    names = {seen.layer.name for seen in before}
    added = [seen for seen in after if seen.layer.name not in names and seen.layer.op not in PAIRS]
    numbers = {seen.layer.name: i for i, seen in enumerate(before)}
    numbers |= {seen.layer.name: len(before) + i for i, seen in enumerate(added)}
    place = {seen.tensor: i for i, seen in enumerate(before)}
    place |= {seen.tensor: len(before) + i for i, seen in enumerate(added)}
    records = [_record(seen, by_name.get(seen.layer.name), measured) for seen in before]
    records += [_added(seen, _sources(seen, after, place), measured) for seen in added]
    return tuple(
        record
        if (now := by_name.get(record.name)) is None
        else dataclasses.replace(record, reads_after=_sources_after(now, after, numbers))
        for record in records
    )


@dataclass(frozen=True)
class _Measured:
    """What was measured of layers, by their names; pairs are (before, after)."""

    signals: Mapping[str, float]
    milliseconds: tuple[Mapping[str, float], Mapping[str, float]]
    made_of: tuple[Mapping[str, NodeFacts], Mapping[str, NodeFacts]]

    def times(self, name: str) -> tuple[float | None, float | None] | None:
        """Milliseconds before and after; None where neither is known, as in a layer that others take over."""
        pair = (self.milliseconds[0].get(name), self.milliseconds[1].get(name))
        return None if pair == (None, None) else pair

    def facts(self, name: str) -> tuple[NodeFacts | None, NodeFacts | None]:
        """What a node is made of, before and after."""
        return self.made_of[0].get(name), self.made_of[1].get(name)


def _record(seen: Seen, now: Seen | None, measured: _Measured) -> LayerRecord:
    old, new = seen.layer, now.layer if now else None
    return LayerRecord(
        name=old.name,
        op=old.op,
        shape=seen.shape,
        reads=seen.reads,
        state="kept" if now else "removed",
        channels=(seen.channels, now.channels if now else None),
        macs=(old.macs, new.macs if new else None),
        parameters=(old.parameters, new.parameters if new else None),
        snr_db=measured.signals.get(old.name) if now else None,
        latency_ms=measured.times(old.name),
        facts=measured.facts(old.name),
    )


def _added(seen: Seen, reads: tuple[int, ...], measured: _Measured) -> LayerRecord:
    layer = seen.layer
    return LayerRecord(
        name=layer.name,
        op=layer.op,
        shape=seen.shape,
        reads=reads,
        state="added",
        channels=(None, seen.channels),
        macs=(None, layer.macs),
        parameters=(None, layer.parameters),
        snr_db=measured.signals.get(layer.name),
        latency_ms=measured.times(layer.name),
        facts=measured.facts(layer.name),
    )


def _sources_after(now: Seen, after: Sequence[Seen], numbers: Mapping[str, int]) -> tuple[int, ...]:
    """The listed layers that a node of the result reads, looked for through pairs of quantization."""
    sources: set[int] = set()
    waiting, visited = list(now.reads), set(now.reads)
    while waiting:
        other = after[waiting.pop()]
        if other.layer.name in numbers:
            sources.add(numbers[other.layer.name])
            continue
        waiting += [i for i in other.reads if i not in visited]
        visited.update(other.reads)
    return tuple(sorted(sources))


def _sources(seen: Seen, after: Sequence[Seen], place: Mapping[str, int]) -> tuple[int, ...]:
    """The listed layers that an added node reads, looked for through pairs of quantization."""
    sources, todo = [], list(seen.reads)
    while todo:
        other = after[todo.pop()]
        if other.layer.op in PAIRS:
            todo += other.reads
        elif other.tensor in place and place[other.tensor] != place[seen.tensor]:
            sources.append(place[other.tensor])
    return tuple(sorted(set(sources)))


def _reads(node: Node, index: Mapping[Node, int]) -> tuple[int, ...]:
    """Nodes that compute what a node reads; one that stands later, as in a loop body, does not count."""
    makers = (tensor.producer for tensor in node.inputs if tensor.name)
    numbers = {index[maker] for maker in makers if maker is not None and maker in index}
    return tuple(sorted(number for number in numbers if number < index[node]))
