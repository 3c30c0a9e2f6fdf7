"""Attention as one operator: its attributes follow, or the reason is given; the masked twin every time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import onnx
import pytest

from graphopt.passes.prune import Prune
from tests.corpus._net import Net
from tests.corpus.networks.attention import (
    BATCH,
    HEADS,
    SIZE,
    TOKENS,
    WIDTH,
    Step,
    block,
    linear,
    multi_head,
    one_operator,
)
from tests.passes.prune.oracle import Pruned, assert_twin, load, prune

HALF = Prune(ratio=0.5, round_to=1, importance="random")
FUSED: dict[str, Step] = {
    "plain": one_operator,
    "scaled": partial(one_operator, scale=0.3),
    "masked": partial(one_operator, mask=True),
    "multi-head": multi_head,
}


def narrowed(step: Step, unit: str) -> Pruned:
    proto = block(step, opset=23)
    return prune(load(proto), replace(HALF, attention=unit))


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("unit", ["ranks", "heads", "none"])
def test_it_equals_its_masked_twin(name: str, unit: str) -> None:
    pruned = narrowed(FUSED[name], unit)
    assert_twin(pruned, tolerance=1e-5)
    assert (unit != "none") == ({"query", "key", "value"} <= set(pruned.changed))


@pytest.mark.parametrize("name", FUSED)
def test_heads_are_counted_anew(name: str) -> None:
    pruned = narrowed(FUSED[name], "heads")
    node = next(node for node in pruned.after.graph.nodes if node.name == "scores")
    counts = [node.attr(key) for key in ("num_heads", "q_num_heads", "kv_num_heads") if node.attr(key)]
    assert counts and set(counts) == {HEADS // 2}


@pytest.mark.parametrize(
    ("name", "scale"), [("plain", SIZE**-0.5), ("scaled", 0.3), ("multi-head", SIZE**-0.5)]
)
def test_the_scale_stays_that_of_whole_heads(name: str, scale: float) -> None:
    pruned = narrowed(FUSED[name], "ranks")
    node = next(node for node in pruned.after.graph.nodes if node.name == "scores")
    assert node.attr("scale") == pytest.approx(scale)


def grouped(net: Net, x: str) -> str:
    """Two heads of queries for each head of keys and values."""
    sizes = {"query": HEADS, "key": HEADS // 2, "value": HEADS // 2}
    parts = [linear(net, x, WIDTH, count * SIZE, name) for name, count in sizes.items()]
    z = net.op("Attention", *parts, q_num_heads=HEADS, kv_num_heads=HEADS // 2, name="scores")
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")


def cached(net: Net, x: str) -> str:
    """Keys and values from the run before are given."""
    parts = [linear(net, x, WIDTH, HEADS * SIZE, name) for name in ("query", "key", "value")]
    past = [net.input(name, (BATCH, HEADS, TOKENS, SIZE)) for name in ("past_key", "past_value")]
    z, *_ = net.many(
        3, "Attention", *parts, None, *past, q_num_heads=HEADS, kv_num_heads=HEADS, name="scores"
    )
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")


@pytest.mark.parametrize("unit", ["ranks", "heads"])
@pytest.mark.parametrize(
    ("step", "why"), [(grouped, "fewer heads of keys"), (cached, "from one run to the next")]
)
def test_what_cannot_be_followed_stays_with_a_reason(step: Step, why: str, unit: str) -> None:
    pruned = narrowed(step, unit)
    assert_twin(pruned, tolerance=1e-5)
    assert all(why in pruned.skipped[name] for name in ("query", "key", "value"))


def test_the_builder_makes_valid_models() -> None:
    for step in (*FUSED.values(), grouped, cached):
        onnx.checker.check_model(block(step, opset=23))
