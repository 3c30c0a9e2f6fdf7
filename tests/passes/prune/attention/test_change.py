"""Projections taken apart and written in other bases: the outputs stay, whatever the exporter wrote."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.passes.prune.attention.change import change_bases
from graphopt.passes.prune.attention.separate import separate
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.coupling.heads import rank_refusal, value_refusal
from tests.corpus._net import Net, ints
from tests.corpus.networks.attention import (
    ATTENTIONS,
    BATCH,
    TOKENS,
    WIDTH,
    block,
    linear,
    merged,
    scores,
    softmax,
)
from tests.passes.prune.oracle import context, largest_difference, load

EXACT = 1e-5
FUSED = ("timm", "dynamo", "gathered", "biased")


def feeds(seed: int) -> dict[str, np.ndarray]:
    shape = (BATCH, TOKENS, WIDTH)
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def samples(model: ir.Model, count: int = 16) -> data.Samples:
    """Seeded samples that stand in for the user's."""
    return data.synthetic(model.signature.inputs, dict(context(model).shapes), count, 3)


def prepared(before: ir.Model) -> tuple[ir.Model, list]:  # type: ignore[type-arg]
    """Take apart and change in place of a copy, and compare."""
    after = before.copy()
    ctx = context(after, calibration=samples(after))
    attentions = separate(after, gather_facts(after, ctx))
    after.check()
    assert largest_difference(before, after, feeds(1), "all") <= EXACT
    change_bases(after, attentions, ctx.calibration, ctx)
    after.check()
    assert after.signature == before.signature
    assert largest_difference(before, after, feeds(1), "all") <= EXACT
    return after, attentions


@pytest.mark.parametrize("name", ATTENTIONS)
def test_the_outputs_stay(name: str) -> None:
    before = load(block(ATTENTIONS[name]))
    after, _ = prepared(before)
    layers = {node.name: node.inputs[1].constant for node in after.graph.find("MatMul", "Conv")}
    assert all(f"qkv.{role}" in layers for role in ("query", "key", "value")) == (name in FUSED)
    assert ("qkv" in layers) == (name == "cross_covariance")


@pytest.mark.parametrize(
    "name", [name for name in ATTENTIONS if name not in ("cross_covariance", "rotary", "normalised")]
)
def test_bases_change_where_nothing_stands_between(name: str) -> None:
    _, attentions = prepared(load(block(ATTENTIONS[name])))
    assert not rank_refusal(attentions[0])
    assert bool(value_refusal(attentions[0])) == (name == "convolved")  # whose values are read twice


def test_biases_that_change_nothing_are_dropped() -> None:
    """A Softmax does not see the bias of keys; that of values moves to the layer behind."""
    after, _ = prepared(load(block(ATTENTIONS["hugging_face"])))
    biases = {}
    for node in after.graph.find("Add"):
        maker = next((t.producer for t in node.inputs if t.producer is not None), None)
        if maker is not None and maker.name in ("query", "key", "value"):
            biases[maker.name] = next(t.constant for t in node.inputs if t.constant is not None)
    assert not biases["key"].any() and not biases["value"].any() and biases["query"].any()


def test_biases_of_values_stay_where_heads_are_mixed() -> None:
    after, _ = prepared(load(block(ATTENTIONS["talking_heads"])))
    adds = [
        n
        for n in after.graph.find("Add")
        if any(t.producer is not None and t.producer.name == "value" for t in n.inputs)
    ]
    assert adds and all(t.constant.any() for n in adds for t in n.inputs if t.constant is not None)


def exposed(net: Net, x: str) -> str:
    """Queries are read a second time, in the basis they have."""
    q, k, v = (
        net.op(
            "Transpose",
            net.op("Reshape", linear(net, x, WIDTH, WIDTH, n), ints(2, -1, 4, 5)),
            perm=[0, 2, 1, 3],
        )
        for n in ("query", "key", "value")
    )
    y = merged(net, softmax(net, scores(net, q, k)), v)
    again = net.op(
        "Reshape", net.op("Transpose", net.op("Relu", q), perm=[0, 2, 1, 3]), ints(2, TOKENS, WIDTH)
    )
    return net.op("Add", y, linear(net, again, WIDTH, WIDTH, "again"))


def test_queries_that_somebody_else_reads_keep_their_basis() -> None:
    before = load(block(exposed))
    after, attentions = prepared(before)
    assert "reads it too" in rank_refusal(attentions[0])
    kept = {node.name: node.inputs[1].constant for node in after.graph.find("MatMul")}
    for node in before.graph.find("MatMul"):
        if node.name in ("query", "key"):
            np.testing.assert_array_equal(node.inputs[1].constant, kept[node.name])


def test_without_samples_all_directions_count_alike() -> None:
    before = load(block(ATTENTIONS["timm"]))
    after = before.copy()
    ctx = context(after)
    change_bases(after, separate(after, gather_facts(after, ctx)), None, ctx)
    assert largest_difference(before, after, feeds(1), "all") <= EXACT
