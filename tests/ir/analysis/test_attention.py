"""Attention found in graphs as exporters write it: heads, their channels, and what stands in the way."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import ir
from graphopt.ir.analysis.attention import Attention, find_attention
from graphopt.ir.analysis.facts import gather_facts
from tests.corpus._net import Net
from tests.corpus.networks.attention import (
    ATTENTIONS,
    BATCH,
    HEADS,
    SIZE,
    TOKENS,
    WIDTH,
    block,
    layer_norm,
    linear,
)


def found(name: str) -> Attention:
    model = ir.from_bytes(block(ATTENTIONS[name]).SerializeToString())
    facts = gather_facts(model)
    (attention,) = find_attention(model.graph, facts.static_shape, facts.known_value)
    return attention


@pytest.mark.parametrize("name", ATTENTIONS)
def test_heads_and_tokens(name: str) -> None:
    attention = found(name)
    heads, size = {"one_head": (1, 8), "rotary": (HEADS, 4)}.get(name, (HEADS, SIZE))
    assert attention.heads == heads and attention.sequences == BATCH
    assert all(projection.size == size for projection in attention.projections)
    assert attention.across == (name == "cross_covariance")
    wanted = (SIZE, SIZE) if attention.across else (TOKENS, TOKENS)
    assert (attention.queries, attention.keys) == wanted
    assert (attention.mixed is not None) == (name == "talking_heads")
    assert (attention.output is None) == (name in ("convolved", "cross_covariance"))


@pytest.mark.parametrize("name", ["timm", "dynamo", "gathered", "biased"])
def test_columns_of_one_projection(name: str) -> None:
    """The layer makes three times heads times channels, in this order."""
    attention = found(name)
    for place, projection in enumerate(attention.projections):
        assert projection.layer.name == "qkv" and not projection.refusal
        wanted = np.arange(HEADS * SIZE).reshape(HEADS, SIZE) + place * HEADS * SIZE
        np.testing.assert_array_equal(projection.columns, wanted)
    assert attention.output is not None and attention.output.layer.name == "proj"
    np.testing.assert_array_equal(attention.output.rows, np.arange(HEADS * SIZE).reshape(HEADS, SIZE))


def test_scales_are_multiplied_up() -> None:
    for name in ("timm", "dynamo", "hugging_face"):
        attention = found(name)
        assert attention.query is not None and attention.key is not None
        product = attention.query.scale * attention.key.scale * attention.scale
        assert product == pytest.approx(SIZE**-0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "why"),
    [("rotary", "stands between"), ("normalised", "stands between"), ("convolved", "reads it too")],
)
def test_what_stands_in_the_way_is_named(name: str, why: str) -> None:
    refusals = [projection.refusal for projection in found(name).projections if projection.refusal]
    assert refusals and all(why in refusal for refusal in refusals)


def test_a_classifier_behind_a_softmax_is_no_attention() -> None:
    net = Net()
    x = layer_norm(net, net.input(shape=(BATCH, TOKENS, WIDTH)))
    y = net.op("Softmax", linear(net, x, WIDTH, 5, "classes"), axis=-1)
    model = ir.from_bytes(net.model(linear(net, y, 5, 3, "behind")).SerializeToString())
    facts = gather_facts(model)
    assert not find_attention(model.graph, facts.static_shape, facts.known_value)
