"""The pass as a whole: goals, reasons, plans, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import cost, data, ir
from graphopt.errors import PassError, UsageError
from graphopt.passes.lowrank import LowRank
from graphopt.passes.lowrank.layers import study
from graphopt.passes.lowrank.ranks import rules
from graphopt.passes.lowrank.ways import KINDS
from graphopt.pipeline import Context, Plan
from graphopt.solve import limits
from tests.corpus._net import Net
from tests.passes.lowrank.nets import calibrated, context, load, outputs, samples_of


def residual(seed: int = 0, dtype: type = np.float32) -> ir.Model:
    """Stem, a residual block of 3x3 layers, a depthwise block and a classifier on x[1,3,8,8]."""
    net = Net(seed, dtype)
    x = net.op("Relu", net.conv(net.input(), (24, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    y = net.op("Relu", smooth(net, x, 24, 24, "first"))
    x = net.op("Relu", net.op("Add", x, smooth(net, y, 24, 24, "second")))
    y = net.op("Relu", net.conv(x, (48, 24, 1, 1), name="expand"))
    y = net.op("Relu", net.conv(y, (48, 1, 3, 3), bias=True, group=48, pads=[1] * 4, name="depthwise"))
    y = net.conv(y, (24, 48, 1, 1), bias=True, name="project")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", y))
    return load(net.model(net.gemm(pooled, (5, 24), bias=(5,), transB=1, name="fc")))


def smooth(net: Net, x: str, inputs: int, outputs: int, name: str) -> str:
    """A 3x3 convolution whose singular values fall, as those of trained ones do."""
    left = net.rng.standard_normal((outputs, 24)) * np.geomspace(1, 0.02, 24)
    weight = (left @ net.rng.standard_normal((24, inputs * 9))).reshape(outputs, inputs, 3, 3) / 8
    constant = net.const(weight.astype(net.dtype), f"{name}.weight")
    return net.op("Conv", x, constant, net.random(outputs, name=f"{name}.bias"), pads=[1] * 4, name=name)


def run(model: ir.Model, step: LowRank, ctx: Context | None = None) -> tuple[ir.Model, Context, Plan]:
    after = ir.from_bytes(model.to_bytes())
    ctx = calibrated(after) if ctx is None else ctx
    plan = step.plan(after, ctx)
    assert after.to_bytes() == ir.from_bytes(model.to_bytes()).to_bytes()  # planning changes nothing
    step.apply(after, plan, ctx)
    after.check()
    return after, ctx, plan


def error(after: ir.Model, before: ir.Model, seed: int = 99) -> float:
    """Squared error of the output on fresh samples, relative to its variance."""
    fresh = samples_of(before, 40, seed)
    wanted = outputs(before, fresh).astype(np.float64)  # squares of half precision overflow
    spread = np.square(wanted - wanted.mean(axis=0)).sum()
    return float(np.square(outputs(after, fresh) - wanted).sum() / spread)


def skipped(ctx: Context) -> dict[str, str]:
    return {skip.node: skip.reason for skip in ctx.skips}


SMALL = {"min_channels": 8, "round_to": 4}


@pytest.mark.parametrize("goal", ["macs", "params"])
@pytest.mark.parametrize("left", [0.85, 0.6])
def test_a_budget_is_kept_and_hardly_wasted(goal: str, left: float) -> None:
    model = residual()
    after, ctx, plan = run(model, LowRank(**{goal: left}, **SMALL))
    sizes = [cost.measure(one) for one in (model, after)]
    found = [getattr(size, {"macs": "macs", "params": "parameters"}[goal]) for size in sizes]
    assert left - 0.05 < found[1] / found[0] <= left
    assert not ctx.missed
    if goal == "macs":
        assert found[0] - found[1] == sum(a - b for a, b in (item["macs"] for item in plan.items))


def test_what_is_planned_is_what_the_output_loses() -> None:
    """One layer, all of whose positions are looked at: predicted against measured error."""
    for kind in ("out", "in", "vertical", "tucker", "cp"):
        net = Net(4)
        x = net.op("Relu", net.conv(net.input(), (16, 3, 1, 1), bias=True, name="stem"))
        model = load(net.model(smooth(net, x, 16, 24, "conv")))
        after, _, plan = run(model, LowRank(macs=0.5, kinds=(kind,), **SMALL), calibrated(model, 160))
        samples = samples_of(model, 160)
        wanted, found = outputs(model, samples).astype(np.float64), outputs(after, samples)
        centred = wanted - wanted.mean(axis=(0, 2, 3), keepdims=True)
        measured = np.square(found - wanted).sum() / np.square(centred).sum()
        (item,) = plan.items
        assert measured == pytest.approx(item["error"], rel=1e-2 if kind == "cp" else 1e-3)


def test_samples_beat_weights_and_fitting_beats_not_fitting() -> None:
    model = residual()
    fitted, ctx, plan = run(model, LowRank(macs=0.5, **SMALL))
    blind, said, _ = run(model, LowRank(macs=0.5, **SMALL), context(model))
    assert error(fitted, model) < 0.6 * error(blind, model)
    assert any("plain SVD" in text for text in said.warnings)
    assert any("refitted" in change.what for change in ctx.changes)
    alone = ir.from_bytes(model.to_bytes())
    LowRank(refit=False, **SMALL).apply(alone, plan, calibrated(alone))
    assert error(fitted, model) < error(alone, model)


def test_without_samples_it_is_the_singular_value_decomposition_of_the_weights() -> None:
    net = Net(1)
    model = load(net.model(net.gemm(net.input("x", (4, 20)), (30, 20), bias=(30,), transB=1, name="fc")))
    after, _, plan = run(model, LowRank(rank=6, min_channels=8), context(model))
    (item,) = plan.items
    weight = next(model.graph.find("Gemm")).inputs[1].constant
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    first, second = (node.inputs[1].constant for node in after.graph.find("Gemm"))
    np.testing.assert_allclose(second @ first, (left[:, :6] * values[:6]) @ right[:6], atol=1e-5)
    assert item["error"] == pytest.approx(np.square(values[6:]).sum() / np.square(values).sum())
    bias = [node.input(2) for node in after.graph.find("Gemm")]
    assert bias[0] is None and bias[1] is not None


def test_without_goal_and_samples_only_what_is_free_goes() -> None:
    model = residual()
    node = next(node for node in model.graph.nodes if node.name == "second")
    weight = np.array(node.inputs[1].constant)
    weight[6:] = 0.0  # of rank 6
    model.graph.set_constant(node, 1, weight)
    after, _, plan = run(model, LowRank(**SMALL), context(model))
    assert [item["layer"] for item in plan.items] == ["second"]
    assert error(after, model) < 1e-8


def test_the_careful_default_stays_within_its_points() -> None:
    model = residual()
    ctx = calibrated(model, 96)
    _, ctx, plan = run(model, LowRank(max_drop=5.0, **SMALL), ctx)
    assert "costs at most 5 points" in plan.items[0]["rule"]
    (shown,) = (figure.data for figure in ctx.figures if figure.kind == "lines")
    assert 0.0 < shown["marks"][0]["x"] < 1.0 and shown["limit"] == 5.0
    harm = [
        line["y"][shown["x"].index(pytest.approx(shown["marks"][0]["x"], rel=1e-4))]
        for line in shown["series"]
    ]
    assert min(value for value in harm if value is not None) <= 5.0
    none, said, empty = run(model, LowRank(max_drop=0.0, **SMALL), calibrated(model, 96))
    left = [cost.measure(one).macs for one in (model, none)]
    assert left[1] >= 0.9 * left[0] or error(none, model) < 1e-2
    assert empty.items or any("split nothing" in text for text in said.warnings)


def test_energy_bounds_the_error_of_every_layer() -> None:
    _, _, plan = run(residual(), LowRank(energy=0.98, **SMALL))
    assert plan.items and all(item["error"] <= 0.02 for item in plan.items)
    _, _, fewer = run(residual(), LowRank(energy=0.999999, **SMALL))
    assert len(fewer.items) <= len(plan.items)


def test_one_rank_for_all() -> None:
    model = residual()
    _, ctx, plan = run(model, LowRank(rank=7, min_channels=8))
    assert {tuple(item["ranks"]) for item in plan.items} <= {(7,), (7, 7)}
    _, ctx, plan = run(model, LowRank(rank=500, min_channels=8))
    assert not plan.items
    assert any("rank=500 is not below the full rank 72 of first" in text for text in ctx.warnings)


def test_an_impossible_budget_says_how_far() -> None:
    _, ctx, _ = run(residual(), LowRank(macs=0.02, **SMALL))
    (missed,) = ctx.missed
    assert "lowrank can leave 0." in missed and "0.02 was asked for" in missed


def test_a_goal_can_be_shared_with_what_ran_before() -> None:
    model = residual()
    whole = cost.measure(model).macs
    ctx = calibrated(model)
    ctx.inputs.remember()
    LowRank(macs=0.7, **SMALL).run(model, ctx)
    half = model.to_bytes()
    LowRank(macs=0.75, shared=True, **SMALL).run(model, ctx)
    assert model.to_bytes() == half  # met already
    LowRank(macs=0.6, shared=True, **SMALL).run(model, ctx)
    assert 0.5 < cost.measure(model).macs / whole <= 0.6
    with pytest.raises(UsageError, match="shared needs a goal"):
        LowRank(shared=True)


def test_two_goals_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="one goal, not rank and macs"):
        LowRank(macs=0.5, rank=3)


def test_every_layer_that_stays_has_a_reason() -> None:
    net = Net(2)
    x = net.input("x", (1, 20, 8, 8))
    weights = net.input("w", (16, 20, 1, 1))
    y = net.op("Conv", x, weights, name="dynamic")
    y = net.conv(y, (16, 1, 3, 3), group=16, name="depthwise")
    y = net.conv(y, (16, 12, 2, 2), op="ConvTranspose", name="up")
    y = net.op("Relu", net.conv(y, (6, 12, 1, 1), name="narrow"))
    shared = net.random(6, 6, 3, 3, name="shared")
    y = net.op("Add", net.op("Conv", y, shared, name="left"), net.op("Conv", y, shared, name="right"))
    y = net.conv(y, (30, 6, 1, 1), name="wide")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.conv(y, (20, 30, 1, 1), name="excluded")))
    model = load(net.model(net.gemm(pooled, (5, 20), bias=(5,), transB=1, name="fc")))
    stem = residual()
    _, ctx, _ = run(model, LowRank(macs=0.99, min_channels=8, exclude=("excl*",)), context(model))
    _, other, _ = run(stem, LowRank(macs=0.9, **SMALL))
    told = skipped(ctx)
    assert "not constant" in told["dynamic"]
    assert "depthwise" in told["depthwise"]
    assert "transposed" in told["up"]
    assert "narrow: 12 input and 6 output channels, min_channels is 8" in told["narrow"]
    assert "shares its weights" in told["left"]
    assert "exclude" in told["excluded"]
    assert "narrow" in told["fc"]
    assert "narrow: 3 input and 24 output channels" in skipped(other)["stem"]


def test_plans_replay_and_can_be_edited() -> None:
    model = residual()
    first, _, plan = run(model, LowRank(macs=0.6, **SMALL))
    again, _, same = run(model, LowRank(macs=0.6, **SMALL))
    assert plan == same and first.to_bytes() == again.to_bytes()
    replayed = ir.from_bytes(model.to_bytes())
    LowRank(**SMALL).apply(replayed, plan, calibrated(replayed))
    assert replayed.to_bytes() == first.to_bytes()
    item = {**plan.items[0], "kind": "out", "ranks": [5]}
    edited = ir.from_bytes(model.to_bytes())
    LowRank(**SMALL).apply(edited, Plan((item,)), calibrated(edited))
    weight = next(n for n in edited.graph.nodes if n.name == f"{item['layer']}.1").inputs[1].constant
    assert weight.shape[0] == 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ranks": [600]}, "rank 600, but its full rank is 24"),
        ({"ranks": [0]}, "rank 0, but its full rank"),
        ({"ranks": [3, 3]}, "with 2 ranks, but 'out' has 1"),
        ({"kind": "svd"}, "does not fit it"),
        ({"kind": "magic"}, "does not fit it"),
        ({"tensor": "nowhere"}, "does not have it"),
        ({"tensor": "depthwise.out"}, "depthwise"),
        ({"kind": "tucker", "ranks": [1, 12]}, "rank 12 behind rank 1, which cannot fill it"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(change: dict[str, object], why: str) -> None:
    model = residual()
    item = {"layer": "first", "tensor": "first.out", "kind": "out", "ranks": [5], **change}
    with pytest.raises(PassError, match=why):
        LowRank(**SMALL).apply(model, Plan((item,)), context(model))


def test_half_precision_stays_half_and_close() -> None:
    model = residual(dtype=np.float16)
    after, _, plan = run(model, LowRank(macs=0.7, **SMALL))
    assert plan.items
    assert {t.dtype for node in after.graph.find("Conv", "Gemm") for t in node.inputs[1:]} == {
        np.dtype(np.float16)
    }
    assert error(after, model) < 0.2


def test_a_layer_too_large_for_its_covariance_is_split_by_what_it_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = residual()
    usual, _, _ = run(model, LowRank(macs=0.7, kinds=("out", "svd"), **SMALL))
    monkeypatch.setattr(limits, "GRAM_BYTES", limits.gram_bytes(1, 100))
    after, ctx, plan = run(model, LowRank(macs=0.7, **SMALL))
    assert {item["kind"] for item in plan.items if item["layer"] in ("first", "second")} == {"out"}
    assert any("first reads 216 values at a time" in text for text in ctx.warnings)
    assert error(after, model) < 3 * error(usual, model) + 1e-3


def test_sensitivity_tries_each_layer_alone() -> None:
    model = residual()
    ctx = calibrated(model)
    found = list(LowRank(**SMALL).trials(model, ctx))
    layers = {trial.item for trial in found}
    assert layers == {"first", "second", "expand", "project"}
    for layer in layers:
        levels = [trial.level for trial in found if trial.item == layer]
        assert len(levels) >= 3 and levels == sorted(levels, reverse=True) and levels[0] < 1
    errors = []
    for trial in (trial for trial in found if trial.item == "first"):
        after = ir.from_bytes(model.to_bytes())
        LowRank(**SMALL).apply(after, trial.plan, calibrated(after))
        errors.append(error(after, model))
        whole = [node.name for node in after.graph.nodes if node.op == "Conv"]
        assert "second" in whole and "first" not in whole
    assert errors == sorted(errors)


def test_a_hint_keeps_ranks_from_falling_below_the_signal() -> None:
    net = Net(3)
    x = net.input("x", (64, 40))
    signal = net.rng.standard_normal((60, 10)) @ net.rng.standard_normal((10, 40))
    weight = (signal + 0.1 * net.rng.standard_normal((60, 40))).astype(np.float32)
    model = load(net.model(net.op("Gemm", x, net.const(weight), transB=1, name="fc")))
    _, _, plan = run(model, LowRank(macs=0.2, round_to=1, hint="vbmf"), context(model))
    assert plan.items[0]["ranks"] == [10]
    _, _, plan = run(model, LowRank(macs=0.2, round_to=1), context(model))
    assert plan.items[0]["ranks"][0] < 10


def test_ranks_come_in_blocks_of_all_groups_together() -> None:
    net = Net(3)
    y = net.conv(net.input("x", (1, 96, 6, 6)), (96, 48, 3, 3), group=2, pads=[1] * 4, name="grouped")
    model = load(net.model(y))
    _, _, plan = run(model, LowRank(macs=0.5, round_to=16, min_channels=8), context(model))
    (item,) = plan.items
    assert all(rank * 2 % 16 == 0 for rank in item["ranks"])


def test_kinds_are_limited_to_those_asked_for() -> None:
    for kind in KINDS:
        _, _, plan = run(residual(), LowRank(macs=0.97, kinds=(kind,), **SMALL), context(residual()))
        assert {item["kind"] for item in plan.items} == {kind}


def test_where_pruning_pays_more_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the inner channels copy the others: pruning them is free, the matrices have full rank."""
    net = Net(3)
    x = net.input("x", (1, 16, 6, 6))
    weight = net.rng.standard_normal((24, 16, 1, 1))
    inner = net.op(
        "Relu", net.op("Conv", x, net.const(np.repeat(weight, 2, 0).astype(np.float32)), name="one")
    )
    model = load(net.model(net.conv(inner, (48, 48, 1, 1), name="two")))
    _, ctx, _ = run(model, LowRank(macs=0.95, **SMALL))
    assert any("pruning pays more than low rank in 1 of the 1 layers" in text for text in ctx.warnings)
    assert ctx.details["prices"][0]["prune"] < ctx.details["prices"][0]["lowrank"]
    assert "1 of 1 layers compared" in ctx.summary
    careful = LowRank(max_drop=50.0, **SMALL)
    assert "two" in {item["layer"] for item in run(model, careful, calibrated(model, 96))[2].items}
    monkeypatch.setattr(rules, "MUCH", 1.0)  # it pays more here, but not by much
    _, ctx, plan = run(model, careful, calibrated(model, 96))
    assert "two" not in {item["layer"] for item in plan.items}
    assert "pruning the channels it reads costs" in skipped(ctx)["two"]


def test_no_sample_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory: covariances beyond what may be kept are collected again, and the plan is the same."""
    model = residual()
    _, _, plan = run(model, LowRank(max_drop=5.0, **SMALL), calibrated(model, 48))
    monkeypatch.setattr(study, "KEPT", 0)
    monkeypatch.setattr(study, "TOGETHER", 1)
    _, _, again = run(model, LowRank(max_drop=5.0, **SMALL), calibrated(model, 48))
    assert plan == again


def test_data_that_does_not_fit_the_model_is_no_use_and_no_crash() -> None:
    model = residual()
    samples = data.synthetic(model.signature.inputs, {}, 4, 0)
    node = next(node for node in model.graph.nodes if node.name == "first")
    node.attrs["pads"] = [0, 0, 0, 0]  # the residual addition no longer fits
    ctx = context(model, calibration=samples)
    LowRank(macs=0.9, **SMALL).plan(model, ctx)
    assert any("cannot run the model" in text for text in ctx.warnings)


@pytest.mark.parametrize("sampled", [True, False])
def test_every_split_leaves_the_singular_values_that_it_cut(sampled: bool) -> None:
    model = residual()
    ctx = calibrated(model) if sampled else context(model)
    _, ctx, plan = run(model, LowRank(macs=0.7, **SMALL), ctx)
    figures = {figure.node: figure.data for figure in ctx.figures if figure.kind == "spectrum"}
    assert figures.keys() == {item["layer"] for item in plan.items} and figures
    for item in plan.items:
        values, rank = figures[item["layer"]]["values"], figures[item["layer"]]["rank"]
        assert (rank, len(values)) == (item["ranks"][0], item["full"][0])
        assert values == sorted(values, reverse=True) and values[0] > 0


@pytest.mark.parametrize("option", ["exclude", "include"])
def test_a_name_that_matches_nothing_is_refused(option: str) -> None:
    model = residual()
    with pytest.raises(UsageError, match="firs matches no node") as caught:
        run(model, LowRank(macs=0.6, **SMALL, **{option: ("second", "firs")}))
    assert "'first'" in str(caught.value.hint)


def test_operator_types_name_layers_too() -> None:
    _, ctx, _ = run(residual(), LowRank(macs=0.9, **SMALL, exclude=("Gemm", "second")))
    assert {name for name, why in skipped(ctx).items() if "exclude" in why} == {"fc", "second"}


def test_fewer_than_eight_samples_are_fitted_to_and_one_judges() -> None:
    model = residual()
    after = ir.from_bytes(model.to_bytes())
    _, ctx, _ = run(model, LowRank(macs=0.7, **SMALL), calibrated(after, 7))
    assert any("output error after fitting" in change.what for change in ctx.changes)
    assert not any("fits no weights" in text for text in ctx.warnings)


def test_one_sample_fits_nothing_and_no_error_is_claimed() -> None:
    model = residual()
    after = ir.from_bytes(model.to_bytes())
    _, ctx, plan = run(model, LowRank(macs=0.7, **SMALL), calibrated(after, 1))
    assert plan.items and any("fits no weights" in text for text in ctx.warnings)
    assert not any("output error" in change.what for change in ctx.changes)


def test_a_layer_without_finite_values_is_split_by_its_weights_and_named() -> None:
    """The branch divides by zero for every sample, so nothing there can be fitted."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (24, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    bad = net.op("Div", x, net.const(np.zeros(1, np.float32)))
    good = smooth(net, x, 24, 24, "good")
    model = load(net.model(net.op("Concat", good, smooth(net, bad, 24, 24, "bad"), axis=1)))
    plan = Plan(
        tuple(
            {"layer": name, "tensor": f"{name}.out", "kind": "out", "ranks": [6]} for name in ("good", "bad")
        )
    )
    ctx = calibrated(model)
    LowRank(**SMALL).apply(model, plan, ctx)
    model.check()
    assert {"good.1", "bad.1"} <= {node.name for node in model.graph.nodes}
    assert any("cannot fit 'bad'" in text for text in ctx.warnings)


@pytest.mark.parametrize(
    "options, what",
    [({"macs": 0.5, "max_drop": 2.0}, "max_drop"), ({"rank": 10, "round_to": 4}, "multiple of round_to")],
)
def test_options_that_would_not_be_heard_are_refused(options: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        LowRank(**options)  # type: ignore[arg-type]
