"""The state of a walk through the graph: which channels each tensor carries, and what has to follow them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from graphopt import ir

from .facts import Facts
from .ledger import FIXED, Ids, Ledger

# out: makes the channel; in: reads it; scale: keeps a zero channel zero; shift: adds to it
Role = Literal["out", "in", "scale", "shift"]
EditKind = Literal["groups", "pad", "slice", "split", "gather", "sizes"]


@dataclass(frozen=True)
class Channels:
    """The one axis of a tensor that carries channels, and the id of each entry along it."""

    axis: int
    ids: Ids  # (shape[axis],)


@dataclass(frozen=True)
class Slot:
    """An axis of a constant input that has one entry for each channel."""

    node: ir.Node
    index: int
    axis: int
    ids: Ids  # (constant.shape[axis],)
    role: Role


@dataclass(frozen=True)
class Edit:
    """An attribute or size input that has to be rewritten when channels go."""

    kind: EditKind
    node: ir.Node
    before: Channels
    after: tuple[Channels, ...]  # one for each output
    place: int  # where the channel axis stands in the list of sizes, pads or starts


@dataclass(frozen=True)
class Layer:
    """A weighted node: Conv, ConvTranspose, Gemm or MatMul.

    ``ids`` are its output channels; ``positions`` is how often its weights are applied, so that its
    multiply-accumulates are positions x size of the weights.  ``own`` tells whether it makes these
    channels (a depthwise conv hands its input's channels on).  ``refusal`` says why it has no ids.
    """

    node: ir.Node
    ids: Ids | None
    weight: int = 1  # which input
    positions: int = 0
    own: bool = True
    refusal: str = ""


@dataclass
class Walk:
    """Follows channels from tensor to tensor; the rules of each operator write into it."""

    graph: ir.Graph
    facts: Facts
    ledger: Ledger = field(default_factory=Ledger)
    carried: dict[ir.Tensor, Channels] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    shared: dict[ir.Tensor, tuple[Ids, Ids]] = field(default_factory=dict)  # weights -> in, out
    references: dict[ir.Tensor, ir.Array] = field(default_factory=dict)  # see sizes.py
    counted: list[Channels] = field(default_factory=list)  # what the references refer to

    def channels(self, tensor: ir.Tensor | None) -> Channels | None:
        """Return what a tensor carries; None when nothing on it can be removed."""
        return None if tensor is None else self.carried.get(tensor)

    def carry(self, tensor: ir.Tensor, axis: int, ids: Ids) -> Channels | None:
        """Say what a tensor carries; channels that leave the graph get a wall."""
        if not np.any(ids != FIXED):
            return None
        if self.graph.is_output(tensor):
            self.ledger.wall(ids, f"model output '{tensor.name}' hands its channels out")
        elif any(reader.graph is not self.graph for reader in tensor.consumers):
            self.ledger.wall(ids, f"a subgraph reads '{tensor.name}'")
        self.carried[tensor] = Channels(axis, ids)
        return self.carried[tensor]

    def shape(self, tensor: ir.Tensor | None) -> tuple[int, ...] | None:
        """Return the concrete shape of a tensor, or None when it is unknown."""
        return None if tensor is None else self.facts.shape(tensor)

    def same(self, first: Ids, second: Ids) -> bool:
        """Whether two axes carry the same channels in the same order."""
        return np.array_equal(self.ledger.canonical(first), self.ledger.canonical(second))

    def wall(self, node: ir.Node, why: str) -> None:
        """Keep everything that ``node`` reads whole; ``why`` follows the node's name."""
        for tensor in node.inputs:
            found = self.channels(tensor)
            if found is not None:
                self.ledger.wall(found.ids, f"{describe(node)} {why}")

    def slot(self, node: ir.Node, index: int, axis: int, ids: Ids, role: Role) -> None:
        """Let an axis of a constant input follow ``ids``."""
        if np.any(ids != FIXED):
            self.slots.append(Slot(node, index, axis, ids, role))

    def edit(self, kind: EditKind, node: ir.Node, before: Channels, *after: Channels, place: int = 0) -> None:
        """Let an attribute or size input follow the channels."""
        self.edits.append(Edit(kind, node, before, after, place))


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
