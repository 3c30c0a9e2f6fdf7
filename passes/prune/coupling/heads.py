"""What the walk knows of attention: which product is which, and which axes count heads and their channels."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.attention import Attention, Projection, find_attention

from .facts import Facts


class Heads:
    """The attentions of a graph, looked for when the walk first meets what may belong to one."""

    def __init__(self, graph: ir.Graph, facts: Facts) -> None:
        self._graph = graph
        self._facts = facts

    @cached_property
    def attentions(self) -> list[Attention]:
        """All of them."""
        return find_attention(self._graph, self._facts.shape, self._facts.value)

    @cached_property
    def of_scores(self) -> dict[ir.Node, Attention]:
        """By the product of queries and keys."""
        return {attention.scores: attention for attention in self.attentions}

    @cached_property
    def _projections(self) -> dict[ir.Tensor, list[Projection]]:
        """Those whose channels pass through a tensor."""
        passing: dict[ir.Tensor, list[Projection]] = defaultdict(list)
        for attention in self.attentions:
            for projection in attention.projections:
                for tensor in projection.flow.numbers:
                    passing[tensor].append(projection)
        return passing

    def axis(self, tensor: ir.Tensor) -> int | None:
        """The axis of a tensor along which the units of attention lie; None where it has none of its own."""
        for projection in self._projections.get(tensor, ()):
            numbers = projection.flow.numbers[tensor]
            place = np.full(int(numbers.max()) + 1, -1)
            within = projection.columns[projection.columns < len(place)]
            if within.size != projection.columns.size:
                continue
            heads, sizes = np.indices(projection.columns.shape)
            place[projection.columns] = heads if self._facts.unit == "heads" else sizes
            axes = [axis for axis in range(numbers.ndim) if _changes(place[numbers], axis)]
            if len(axes) == 1:
                return axes[0]
        return None


def _changes(places: ir.Array, axis: int) -> bool:
    """Whether entries that are known differ along an axis."""
    first = places.take([0], axis)
    return bool(((places != first) & (places >= 0) & (first >= 0)).any())


def rank_refusal(attention: Attention) -> str:
    """Why the channels of queries and keys cannot be given another basis; empty when they can.

    A basis may change where nothing but moving and scaling happens between the layers and their product.
    """
    query, key = attention.query, attention.key
    if attention.across:
        return "its channels attend to each other, so a Softmax mixes them"
    if query is None or key is None:
        return "its queries or keys come from no layer whose channels can be followed"
    for name, one in (("queries", query), ("keys", key)):
        if one.refusal:
            return f"of the layer of its {name}, {one.refusal}"
        if one.layer.attr("group", 1) != 1 or len(one.layer.inputs[1].consumers) > 1:
            return f"the layer of its {name} has groups or shares its weights"
    if query.columns.shape != key.columns.shape:
        return "its queries have other heads than its keys"
    return ""
