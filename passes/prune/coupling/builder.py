"""The state of a walk through the graph: which channels each tensor carries, and what has to follow them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from graphopt import ir
from graphopt.passes.prune.coupling.ids import Balance

from .facts import Facts
from .heads import Heads
from .ids import FIXED, ChannelIds, Ids
from .parameter_axes import ParameterAxis as ParameterAxis
from .parameter_axes import Role as Role

Settled: TypeAlias = "tuple[int, ...]"  # operands whose channels a rule has dealt with
NONE: Settled = ()
DATA: Settled = (0,)  # fixed: the first operand alone

EditKind = Literal[
    "groups", "pad", "slice", "split", "gather", "sizes", "route", "norm_groups", "heads", "scale"
]


class Travel(Enum):
    """What an operator makes of channels that are zero, or that hold the same values whatever the input is.

    KEEPS: a zero channel stays zero, but for what the parameters of the node add to it.  CONSTANT: an output
    channel depends on nothing but the operands' entries of that channel, so constants stay constants.  MIXES:
    it may depend on anything.
    """

    KEEPS = auto()
    CONSTANT = auto()
    MIXES = auto()


@dataclass(frozen=True, slots=True)
class Channels:
    """The one axis of a tensor that carries channels, and the id of each entry along it."""

    axis: int
    ids: Ids  # (shape[axis],)


@dataclass(frozen=True, slots=True)
class ChannelPermutation:
    """Nodes that together only pick channels of ``source`` and put them in another order as ``end``."""

    source: ir.Tensor
    end: ir.Tensor
    order: Ids  # where each entry of the end comes from on the source


@dataclass(frozen=True, slots=True)
class Edit:
    """An attribute or size input that has to be rewritten when channels go."""

    kind: EditKind
    node: ir.Node
    before: Channels
    after: tuple[Channels, ...]  # one for each output
    place: int = 0  # where the channel axis stands in the list of sizes, pads or starts
    route: ChannelPermutation | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted node: Conv, ConvTranspose, Gemm or MatMul.

    ``ids`` are its output channels; ``positions`` is how often its weights are applied, so that its
    multiply-accumulates are positions x size of the weights.  ``own`` tells whether it makes these
    channels (a depthwise conv hands its input's channels on).  ``refusal`` says why it has no ids; its
    multiply-accumulates are then ``fixed``.
    """

    node: ir.Node
    ids: Ids | None
    weight: int = 1  # which input
    positions: int = 0
    own: bool = True
    refusal: str = ""
    fixed: int = 0
    follows: Ids | None = None  # what ``fixed`` shrinks in proportion to


@dataclass
class CouplingBuilder:
    """Follows channels from tensor to tensor; the rules of each operator write into it.

    Whatever a rule does to channels is noted, so that ``builder.visit`` can tell what it forgot.
    """

    graph: ir.Graph
    facts: Facts
    ledger: ChannelIds = field(default_factory=ChannelIds)
    carried: dict[ir.Tensor, Channels] = field(default_factory=dict)
    slots: list[ParameterAxis] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    parted: list[Ids] = field(default_factory=list)  # channels that are normalised together
    routed: set[ir.Node] = field(default_factory=set)  # nodes inside a route, see permutation.py
    mixing: set[ir.Node] = field(default_factory=set)  # a channel behind these depends on other channels
    layers: list[Layer] = field(default_factory=list)
    shared: dict[ir.Tensor, tuple[Ids, Ids]] = field(default_factory=dict)  # weights -> in, out
    references: dict[ir.Tensor, ir.Array] = field(default_factory=dict)  # see shape_arithmetic.py
    counted: list[Channels] = field(default_factory=list)  # what the references refer to
    checked: set[int] = field(default_factory=set)  # size inputs of this node that agree with the channels
    summed: list[Ids] = field(default_factory=list)  # channels of queries and keys, which no weight reads
    handled: list[Ids] = field(default_factory=list)  # ids that the rule of this node did something about

    @cached_property
    def heads(self) -> Heads:
        """What is known of attention."""
        return Heads(self.graph, self.facts)

    def enter(self) -> None:
        """Begin with another node."""
        self.checked.clear()
        self.handled.clear()

    def channels(self, tensor: ir.Tensor | None) -> Channels | None:
        """Return what a tensor carries; None when nothing on it can be removed."""
        return None if tensor is None else self.carried.get(tensor)

    def carry(self, tensor: ir.Tensor, axis: int, ids: Ids) -> Channels | None:
        """Say what a tensor carries; channels that leave the graph are pinned."""
        self.handled.append(ids)
        if not np.any(ids != FIXED):
            return None
        if self.graph.is_output(tensor):
            self.pin(ids, f"model output '{tensor.name}' exposes its channels")
        elif self._is_read_inside(tensor):
            self.pin(ids, f"a subgraph reads '{tensor.name}'")
        self.carried[tensor] = Channels(axis, ids)
        return self.carried[tensor]

    def refer(self, tensor: ir.Tensor, references: ir.Array) -> None:
        """Say which entries of an integer tensor are counts of channels; counts that leave the graph pin."""
        self.references[tensor] = references
        leaves = self.graph.is_output(tensor)
        if leaves or self._is_read_inside(tensor):
            where = "a model output" if leaves else "a subgraph"
            for channels in self.referred(references):
                self.pin(channels.ids, f"{where} reads their number, '{tensor.name}'")

    def referred(self, references: ir.Array) -> Iterator[Channels]:
        """Yield the channels whose number stands in such a tensor."""
        for reference in np.unique(references[references > 0]).tolist():
            yield self.counted[reference - 1]

    def shape(self, tensor: ir.Tensor | None) -> tuple[int, ...] | None:
        """Return the concrete shape of a tensor, or None when it is unknown."""
        return None if tensor is None else self.facts.shape(tensor)

    def same(self, first: Ids, second: Ids) -> bool:
        """Whether two axes carry the same channels in the same order."""
        return np.array_equal(self.ledger.canonical(first), self.ledger.canonical(second))

    def tie(self, first: Ids, second: Ids, reason: str) -> None:
        """Couple ids entry by entry."""
        self.handled += (first, second)
        self.ledger.tie(first, second, reason)

    def pin(self, ids: Ids, reason: str) -> None:
        """Keep the classes of these ids whole."""
        self.handled.append(ids)
        self.ledger.pin(ids, reason)

    def pin_operands(self, node: ir.Node, why: str) -> Settled:
        """Keep everything that ``node`` reads whole; ``why`` follows the node's name."""
        for tensor in node.inputs:
            channels = self.channels(tensor)
            if channels is not None:
                self.pin(channels.ids, f"{describe(node)} {why}")
        return tuple(range(len(node.inputs)))

    def slot(self, node: ir.Node, index: int, axis: int, ids: Ids, role: Role, groups: int = 1) -> None:
        """Let an axis of a constant input follow ``ids``."""
        self.handled.append(ids)
        if np.any(ids != FIXED):
            self.slots.append(ParameterAxis(node, index, axis, ids, role, groups))

    def inexact(self, ids: Ids) -> None:
        """Note that removing some of these channels changes what the others become."""
        self.handled.append(ids)
        self.parted.append(ids)

    def balance(self, ids: Ids, groups: int, reason: str) -> None:
        """Let ``groups`` equal stretches of an axis stay equally wide."""
        if groups > 1 and np.any(ids != FIXED):
            self.balances.append(Balance(ids.reshape(groups, -1), reason))

    def edit(self, kind: EditKind, node: ir.Node, before: Channels, *after: Channels, place: int = 0) -> None:
        """Let an attribute or size input follow the channels."""
        self.handled.append(before.ids)
        self.edits.append(Edit(kind, node, before, after, place))

    def route(self, route: ChannelPermutation, channels: Channels) -> None:
        """Carry what a route makes of the channels of its source; the surgery replaces it by a Gather."""
        self.handled.append(channels.ids)
        after = self.carry(route.end, channels.axis, channels.ids[route.order])
        if after is not None and route.end.producer is not None:
            self.edits.append(Edit("route", route.end.producer, channels, (after,), route=route))

    def _is_read_inside(self, tensor: ir.Tensor) -> bool:
        """Whether a node of a subgraph reads a tensor."""
        return any(reader.graph is not self.graph for reader in tensor.consumers)


def label(node: ir.Node) -> str:
    """The name a user knows a node by."""
    return str(node.name or (node.outputs[0].name if node.outputs else node.op))


def describe(node: ir.Node) -> str:
    """The subject of a sentence about a node."""
    return f"{node.op} '{label(node)}'"


def axis_of(node: ir.Node, rank: int, default: int) -> int:
    """Return the node's axis attribute as a non-negative number."""
    axis: Any = node.attr("axis", default)
    return int(axis) % rank if rank else 0
