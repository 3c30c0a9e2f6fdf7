"""Ranks inside attention from goal to file: what goes, what it costs, planted ranks for nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphopt import ir
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context
from graphopt.runtime import Session
from tests.corpus._net import Net, ints
from tests.corpus.networks.attention import (
    ATTENTIONS,
    HEADS,
    SIZE,
    block,
    fused,
    merged,
    scores,
    softmax,
)
from tests.passes.prune.attention.test_change import feeds, samples
from tests.passes.prune.oracle import assert_twin, context, load, prune


def pruned(proto: onnx.ModelProto, **options: object) -> tuple[ir.Model, ir.Model, Context]:
    """The model before and after pruning with calibration samples."""
    before = load(proto)
    after = before.copy()
    ctx = context(after, calibration=samples(after, 64))
    step = Prune(**options)  # type: ignore[arg-type]
    step.apply(after, step.plan(after, ctx), ctx)
    after.check()
    return before, after, ctx


def error(before: ir.Model, after: ir.Model) -> float:
    """The squared error of the outputs on other samples, as a share of their variance."""
    total = missed = 0.0
    left, right = Session(before), Session(after)
    for seed in range(5, 25):
        wanted, got = (next(iter(session.run(feeds(seed)).values())) for session in (left, right))
        missed += float(np.square(wanted - got).sum())
        total += float(np.square(wanted - wanted.mean(axis=0)).sum())
    return missed / total


def widths(model: ir.Model) -> dict[str, int]:
    return {
        n.name: n.inputs[1].constant.shape[1]
        for n in model.graph.find("MatMul")
        if n.inputs[1].constant is not None
    }


def lowered(proto: onnx.ModelProto, rank: int, layers: tuple[str, ...]) -> onnx.ModelProto:
    """Multiply the channels of each head with a matrix of low rank of its own."""
    rng = np.random.default_rng(9)
    for name in layers:
        for part in ("weight", "bias"):
            tensor = next(t for t in proto.graph.initializer if t.name == f"{name}.{part}")
            values = numpy_helper.to_array(tensor).reshape(-1, HEADS, SIZE).astype(np.float64)
            if part == "weight":
                low = rng.standard_normal((HEADS, SIZE, rank)) @ rng.standard_normal((HEADS, rank, SIZE))
            changed = np.einsum("nhs,hst->nht", values, low).astype(np.float32)
            tensor.CopyFrom(
                numpy_helper.from_array(changed.reshape(numpy_helper.to_array(tensor).shape), tensor.name)
            )
    return proto


@pytest.mark.parametrize("layers", [("query",), ("key",)])
def test_a_planted_rank_of_scores_goes_for_nothing(layers: tuple[str, ...]) -> None:
    proto = lowered(block(ATTENTIONS["hugging_face"]), 2, layers)
    before, after, _ = pruned(proto, ratio=0.0, ratios=("query@0.6",), round_to=1)
    assert widths(after)["query"] == widths(after)["key"] == 2 * HEADS
    assert error(before, after) < 1e-8


def test_a_planted_rank_of_values_goes_for_nothing() -> None:
    proto = lowered(block(ATTENTIONS["hugging_face"]), 2, ("value",))
    before, after, _ = pruned(proto, ratio=0.0, ratios=("value@0.6",), round_to=1)
    assert widths(after)["value"] == 2 * HEADS
    assert error(before, after) < 1e-8


@pytest.mark.parametrize(
    "name", ["timm", "dynamo", "gathered", "hugging_face", "biased", "talking_heads", "one_head"]
)
def test_a_goal_is_spent_on_attention_too(name: str) -> None:
    before, after, ctx = pruned(block(ATTENTIONS[name]), macs=0.6, round_to=1)
    changed = {change.node for change in ctx.changes}
    assert any("query" in node for node in changed) and any("value" in node for node in changed)
    _, by_norm, _ = pruned(block(ATTENTIONS[name]), macs=0.6, round_to=1, importance="l2")
    assert error(before, after) < 0.8 * error(before, by_norm)
    assert not ctx.missed


def test_channels_in_the_order_of_a_basis_cost_less_than_selected_ones() -> None:
    """The same widths, once by the loss and once by norms of channels as they are."""
    given = {"ratio": 0.0, "ratios": ("query@0.4",), "round_to": 1, "repair": False}
    proto = block(ATTENTIONS["hugging_face"])
    before, best, _ = pruned(proto, **given)
    _, selected, _ = pruned(proto, importance="l2", **given)
    assert widths(best) == widths(selected)
    assert error(before, best) < 0.7 * error(before, selected)


def test_a_plan_is_replayed_on_a_fresh_model() -> None:
    model = load(block(ATTENTIONS["timm"]))
    step = Prune(macs=0.6, round_to=1)
    ctx = context(model, calibration=samples(model, 64))
    plan = step.plan(model, ctx)
    results = []
    for _ in range(2):
        fresh = load(block(ATTENTIONS["timm"]))
        from graphopt.pipeline import Plan

        step.apply(fresh, Plan(plan.items), context(fresh, calibration=samples(fresh, 64)))
        results.append(fresh.to_bytes())
    step.apply(model, plan, ctx)
    first, second = Session(model.to_bytes()), Session(results[0])
    a, b = (next(iter(session.run(feeds(3)).values())) for session in (first, second))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(a).max())
    assert results[0] == results[1]


def test_a_scale_from_the_size_of_heads_does_not_follow_their_rank() -> None:
    """1 / sqrt(d) worked out from a Shape: left in place it would grow with every channel that goes."""

    def attention(net: Net, x: str) -> str:
        q, k, v = fused(net, x)
        width = net.op("Cast", net.op("Slice", net.op("Shape", q), ints(-1), ints(9223372036854775807)), to=1)
        y = net.op("Div", scores(net, q, k), net.op("Sqrt", width))
        return merged(net, softmax(net, y), v)

    half = Prune(ratio=0.5, round_to=1, importance="random")
    result = prune(load(block(attention)), half)
    assert_twin(result, tolerance=1e-5)
    assert "calculates with their number" in result.skipped["qkv.query"]


@pytest.mark.parametrize("unit", ["heads", "none"])
def test_other_units(unit: str) -> None:
    before, after, ctx = pruned(block(ATTENTIONS["hugging_face"]), macs=0.6, round_to=1, attention=unit)
    changed = {change.node for change in ctx.changes}
    assert ("value" in changed) == (unit == "heads")
    if unit == "heads":
        assert widths(after)["value"] % SIZE == 0
    assert error(before, after) < 1.0


def test_the_bias_behind_a_product_takes_over_means() -> None:
    """Hidden units that hardly vary but have a mean: without the bias, their mean is lost."""

    def attention(net: Net, x: str) -> str:
        return ATTENTIONS["hugging_face"](net, x)

    proto = block(attention)
    bias = next(t for t in proto.graph.initializer if t.name == "fc1.bias")
    weight = next(t for t in proto.graph.initializer if t.name == "fc1.weight")
    raised, small = numpy_helper.to_array(bias).copy(), numpy_helper.to_array(weight).copy()
    raised[:12], small[:, :12] = 3.0, 1e-3 * small[:, :12]
    bias.CopyFrom(numpy_helper.from_array(raised, bias.name))
    weight.CopyFrom(numpy_helper.from_array(small, weight.name))
    before, after, _ = pruned(proto, ratio=0.0, ratios=("fc1@0.5",), round_to=1, attention="none")
    assert widths(after)["fc1"] == 12
    assert error(before, after) < 1e-4
