"""One step of the walk: apply the rule of a node, then look for what the rule has forgotten.

A rule returns the operands whose channels it has dealt with.  Where it does not name one that carries
channels, or names it without having tied, cut, edited, carried on or pinned all of them, all that the node
reads and makes is pinned here, and so are channels whose number the node reads without agreeing with it.
Likewise zeros: unless the operator is declared to keep them, they break.  So a rule that forgets something
costs channels, never a wrong model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from graphopt import ir

from .builder import CouplingBuilder, Settled, Travel, describe
from .ids import FIXED, Ids
from .rules import shape_arithmetic

Rule: TypeAlias = Callable[[CouplingBuilder, ir.Node], Settled]
Travels: TypeAlias = "Travel | Callable[[CouplingBuilder, ir.Node], Travel]"

UNHANDLED = "reads them in a way that prune does not follow"
COUNTED = "calculates with their number"


@dataclass(frozen=True)
class Operator:
    """How channels pass through an operator, and what becomes of zeros and constants on the way.

    ``inputs`` and ``outputs`` are how many of them the rule knows; a node that has more is not followed.
    """

    rule: Rule
    travel: Travels = Travel.MIXES
    inputs: int = 1
    outputs: int = 1

    def knows(self, node: ir.Node) -> bool:
        """Whether the rule knows all inputs and outputs of a node."""
        beyond = (*list(node.inputs)[self.inputs :], *list(node.outputs)[self.outputs :])
        return not any(tensor.name for tensor in beyond)


def visit(walk: CouplingBuilder, node: ir.Node, operator: Operator) -> None:
    """Carry channels through one node; whatever its rule leaves open is pinned."""
    if node in walk.routed:
        return
    walk.enter()
    if shape_arithmetic.follow(walk, node):
        settled: Settled = ()
    else:
        settled = operator.rule(walk, node)
        _pin_counted(walk, node)
    _pin_forgotten(walk, node, settled)
    _break_zeros(walk, node, operator.travel)


def _pin_counted(walk: CouplingBuilder, node: ir.Node) -> None:
    for index, references in shape_arithmetic.referenced(walk, node):
        if index not in walk.checked:
            for channels in walk.referred(references):
                walk.pin(channels.ids, f"{describe(node)} {COUNTED}")


def _pin_forgotten(walk: CouplingBuilder, node: ir.Node, settled: Settled) -> None:
    """Pin all that the node reads and makes when some of it was forgotten: the rest may depend on it."""
    if any(
        (channels := walk.channels(tensor)) is not None
        and (index not in settled or len(_unhandled(walk, channels.ids)))
        for index, tensor in enumerate(node.inputs)
    ):
        for tensor in (*node.inputs, *node.outputs):
            channels = walk.channels(tensor)
            if channels is not None:
                walk.ledger.pin(channels.ids, f"{describe(node)} {UNHANDLED}")


def _unhandled(walk: CouplingBuilder, ids: Ids) -> Ids:
    """The ids that the rule of the present node did nothing about."""
    if any(ids is handled for handled in walk.handled):
        return ids[:0]
    handled = np.concatenate([np.full(1, FIXED), *(one.ravel() for one in walk.handled)])
    left = ids[~np.isin(ids, handled)]
    if len(left):  # a reshape speaks of the names of classes
        names = walk.ledger.canonical(left)
        left = left[~np.isin(names, walk.ledger.canonical(handled))]
    return left


def _break_zeros(walk: CouplingBuilder, node: ir.Node, travels: Travels) -> None:
    carried = [channels for tensor in node.outputs if (channels := walk.channels(tensor)) is not None]
    if not carried:
        return
    travel = travels if isinstance(travels, Travel) else travels(walk, node)
    if travel is not Travel.KEEPS:
        for channels in carried:
            walk.ledger.break_zeros(channels.ids)
    if travel is Travel.MIXES:
        walk.mixing.add(node)
