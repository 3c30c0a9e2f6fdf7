"""The attention of a model, in numbers that a person can check against the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.cost.static.shapes import known_shapes
from graphopt.ir import static_shape
from graphopt.ir.analysis.attention import find_attention, is_product
from graphopt.ir.analysis.facts import gather_facts

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.ir.tensor import Tensor


@dataclass(frozen=True)
class AttentionBlock:
    """One attention: its Softmax, its heads and their channels, and how many tokens attend to how many.

    ``size`` are the channels of queries and keys in each head and ``value_size`` those of values, 0 where
    nobody knows.  ``sequences`` attend by themselves in one run: images times windows.  ``over`` is
    ``tokens``, or ``channels`` where channels attend to channels.
    """

    name: str
    heads: int
    size: int
    value_size: int
    queries: int
    keys: int
    sequences: int
    over: str = "tokens"
    mixes_heads: bool = False


def attention_blocks(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[AttentionBlock, ...]:
    """The attentions of the main graph at these input sizes, in the order of its nodes."""
    graph = model.graph
    if not any(True for _ in graph.find("Softmax")) or not any(map(is_product, graph.find("MatMul"))):
        return ()
    facts, shapes_by_name = gather_facts(model, shapes), known_shapes(model, shapes, (), every=True)

    def shape(tensor: Tensor) -> tuple[int, ...] | None:
        return facts.static_shape(tensor) or static_shape(shapes_by_name.get(tensor.name))

    return tuple(
        AttentionBlock(
            attention.softmax.name or attention.softmax.output.name,
            attention.heads,
            attention.query.size if attention.query is not None else 0,
            attention.value.size if attention.value is not None else 0,
            attention.queries,
            attention.keys,
            attention.sequences,
            "channels" if attention.across else "tokens",
            attention.mixed is not None,
        )
        for attention in find_attention(graph, shape, facts.known_value)
    )
