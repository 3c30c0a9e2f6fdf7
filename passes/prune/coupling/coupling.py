"""Which channels of a model can only go together, and which have to stay, for one whole model.

Every axis that carries channels holds an array of channel ids.  Operators that move data are carried out on
these arrays; operators that combine tensors tie ids; weighted operators issue fresh ids and own the axes of
their parameters; groups that must stay equally wide lose one channel each (group_balance.py); anything else
pins the ids that reach it, with a sentence that says why.  After one walk in topological order a class of
tied ids is one removable unit (the method is DepGraph's and SPA's grouping, with ids in place of index maps).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.attention import Attention

from .builder import Channels, CouplingBuilder, Edit, Layer, ParameterAxis
from .facts import Facts
from .group_balance import bundle, carry_out
from .ids import FIXED, Decision, Ids
from .operators import operator_of
from .step import visit


@dataclass(frozen=True)
class Coupling:
    """The channels of a model: classes of ids that go together, and everything that follows them."""

    classes: Ids  # (ids,) the class of each id; class 0 always stays
    walls: dict[int, str]  # class -> why it has to stay
    broken_zeros: frozenset[int]  # classes on which a zero does not stay a zero
    slots: tuple[ParameterAxis, ...]
    edits: tuple[Edit, ...]
    layers: tuple[Layer, ...]
    axes: tuple[Ids, ...]  # the classes along every distinct axis that carries channels
    inexact: frozenset[int] = frozenset()  # classes that are normalised together with others
    carried: Mapping[ir.Tensor, Channels] = field(default_factory=dict)  # what each tensor carries
    summed: frozenset[int] = frozenset()  # classes of queries and keys, which no weight reads
    attentions: tuple[Attention, ...] = ()  # whose products the walk has met
    mixing: frozenset[ir.Node] = frozenset()  # nodes behind which a channel depends on others
    bundles: Mapping[bytes, Sequence[Decision]] = field(default_factory=dict)  # by what had to be balanced

    def on(self, ids: Ids) -> Ids:
        """Return the classes of some ids."""
        return self.classes[ids]

    def keep_all(self) -> np.ndarray:
        """Return a mask over classes that removes nothing."""
        return np.ones(len(self.classes), bool)

    def keeping(self, classes: Iterable[int], reason: str) -> Coupling:
        """Return the same with these classes kept whole too."""
        walls = dict(self.walls)
        for one in classes:
            walls.setdefault(one, reason)
        return replace(self, walls=walls)

    def kept(self, ids: Ids, keep: np.ndarray) -> np.ndarray:
        """Return which entries of an axis stay, as a mask."""
        return np.asarray(keep[self.classes[ids]], bool)


def couple(model: ir.Model, facts: Facts) -> Coupling:
    """Walk once through the main graph and return how its channels hang together."""
    model.sort()
    walk = CouplingBuilder(model.graph, facts)
    for node in model.graph.nodes:
        visit(walk, node, operator_of(model.graph, node))
    bundles = _bundle(walk)
    classes = walk.ledger.classes()
    return Coupling(
        classes,
        walk.ledger.walls(),
        frozenset(walk.ledger.broken()),
        tuple(walk.slots),
        tuple(walk.edits),
        tuple(walk.layers),
        _distinct_axes(walk, classes),
        _classes_of(walk.parted, classes),
        walk.carried,
        _classes_of(walk.summed, classes),
        tuple(walk.heads.attentions) if walk.summed else (),
        frozenset(walk.mixing),
        bundles,
    )


def _classes_of(parts: Sequence[Ids], classes: Ids) -> frozenset[int]:
    return frozenset(classes[np.concatenate(parts)].tolist()) if parts else frozenset()


def with_bundles(model: ir.Model, facts: Facts) -> Facts:
    """Return facts by which the network's channels are bundled as its weights are now.

    While a network is planned its weights change, and its bundles must not.
    """
    return replace(facts, bundles={**facts.bundles, **couple(model, facts).bundles})


def _bundle(walk: CouplingBuilder) -> dict[bytes, Sequence[Decision]]:
    """Bundle channels as the facts say, else by the weights; return what was decided."""
    blocks = b"".join(balance.blocks.tobytes() for balance in walk.balances)
    key = hashlib.sha256(blocks + walk.ledger.classes().tobytes()).digest()
    decisions = walk.facts.bundles.get(key)
    if decisions is None:
        decisions = bundle(walk.ledger, walk.balances, walk.slots)
    carry_out(walk.ledger, decisions)
    return {key: decisions}


def _distinct_axes(walk: CouplingBuilder, classes: Ids) -> tuple[Ids, ...]:
    axes: dict[bytes, Ids] = {}
    for channels in walk.carried.values():
        axis = classes[channels.ids]
        axes.setdefault(axis.tobytes(), axis)
    return tuple(axis for axis in axes.values() if np.any(axis != FIXED))
