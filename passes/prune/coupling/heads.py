"""What the walk knows of attention: which product is which, and which axes count heads and their channels."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.attention import Attention, Projection, find_attention
from graphopt.ir.transform.layer_bias import layer_bias, vector_bias

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


def value_refusal(attention: Attention) -> str:
    """Why the channels of the values cannot be given another basis; empty when they can."""
    value, output = attention.value, attention.output
    if value is None or output is None:
        return "its values come from no layer, or go into none, whose channels can be followed"
    if value.refusal:
        return f"of the layer of its values, {value.refusal}"
    if _is_shared(value.layer) or _is_shared(output.layer):
        return "the layer of its values or the one behind its heads has groups or shares its weights"
    return _overlap(attention)


def _is_shared(layer: ir.Node) -> bool:
    """Whether other nodes compute with the weights of a layer, or it has groups or an odd bias."""
    bias = vector_bias(layer)
    if bias is None and layer_bias(layer) is not None:
        return True  # one number for all outputs, which no basis leaves in place
    if bias is not None and (bias.tensor.constant is None or bias.values.ndim != 1):
        return True
    return int(layer.attr("group", 1)) != 1 or len(layer.inputs[1].consumers) > 1


def _overlap(attention: Attention) -> str:
    """Whether queries, keys and values share channels of one layer."""
    used: set[tuple[ir.Tensor, int]] = set()
    for one in attention.projections:
        own = {(one.source, column) for column in one.columns.ravel().tolist()}
        if used & own:
            return "its queries, keys and values share channels"
        used |= own
    return ""


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
        if _is_shared(one.layer):
            return f"the layer of its {name} has groups or shares its weights"
    if query.columns.shape != key.columns.shape:
        return "its queries have other heads than its keys"
    return _overlap(attention)
