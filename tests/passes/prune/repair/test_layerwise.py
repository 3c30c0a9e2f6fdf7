"""Repair: each layer becomes the least-squares fit to what the original computed, and is never worse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.calibration import cuts
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.builder import label
from graphopt.passes.prune.coupling.coupling import Coupling, couple
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.plan import read_items
from graphopt.passes.prune.repair.layer_task import ANYTHING, Task, task_of
from graphopt.passes.prune.repair.layerwise import repair
from graphopt.passes.prune.surgery.apply import _with_new_biases
from graphopt.passes.prune.surgery.cut import remove_channels
from graphopt.pipeline import Context, Plan
from graphopt.runtime import Session
from graphopt.solve import judges
from tests.corpus import random_cnn
from tests.corpus._net import Net
from tests.passes.prune.oracle import context, copy, load


def samples_of(model: ir.Model, count: int = 64, seed: int = 3) -> data.Samples:
    """Seeded samples that stand in for the user's."""
    return data.synthetic(model.signature.inputs, dict(context(model).shapes), count, seed)


def residual(seed: int = 0) -> ir.Model:
    """Stem, a residual block, a depthwise block and a classifier on x[1,3,8,8]."""
    net = Net(seed)
    x = net.op("Relu", net.conv(net.input(), (12, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    y = net.op("Relu", net.conv(x, (16, 12, 3, 3), bias=True, pads=[1] * 4, name="first"))
    x = net.op("Relu", net.op("Add", x, net.conv(y, (12, 16, 3, 3), bias=True, pads=[1] * 4, name="second")))
    y = net.op("Relu", net.conv(x, (24, 12, 1, 1), name="expand"))
    y = net.op("Relu", net.conv(y, (24, 1, 3, 3), bias=True, group=24, pads=[1] * 4, name="depthwise"))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", y))
    return load(net.model(net.gemm(pooled, (5, 24), bias=(5,), transB=1, name="fc")))


def calibrated(model: ir.Model, **options: object) -> Context:
    return context(model, calibration=samples_of(model, **options))  # type: ignore[arg-type]


def outputs(model: ir.Model, samples: data.Samples) -> np.ndarray:
    session = Session(model)
    return np.concatenate([next(iter(session.run(sample.feeds).values())) for sample in samples])


def error(model: ir.Model, original: ir.Model) -> float:
    """Squared error of the output on fresh samples, relative to its variance."""
    fresh = samples_of(original, 40, seed=99)
    wanted = outputs(original, fresh)
    return float(
        np.square(outputs(model, fresh) - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum()
    )


def applied(model: ir.Model, step: Prune, plan: Plan | None = None) -> tuple[ir.Model, Context, Plan]:
    after = copy(model)
    ctx = calibrated(after)
    plan = step.plan(after, ctx) if plan is None else plan
    step.apply(after, plan, ctx)
    after.check()
    return after, ctx, plan


@pytest.mark.parametrize("seed", range(4))
def test_repair_lowers_the_error_on_fresh_samples(seed: int) -> None:
    model = residual(seed)
    raw, _, plan = applied(model, Prune(ratio=0.3, round_to=1, repair=False))
    repaired, ctx, _ = applied(model, Prune(ratio=0.3, round_to=1), plan)
    assert error(repaired, model) < 0.5 * error(raw, model)
    said = [change.what for change in ctx.changes if "refitted" in change.what]
    assert len(said) >= 3


def test_nothing_removed_is_nothing_changed() -> None:
    model = residual()
    after = copy(model)
    Prune().apply(after, Plan(), calibrated(after))
    assert after.to_bytes() == model.to_bytes()


def test_the_same_plan_gives_the_same_bytes() -> None:
    model = residual()
    first, _, plan = applied(model, Prune(macs=0.6, round_to=1))
    second, _, again = applied(model, Prune(macs=0.6, round_to=1))
    assert plan == again and first.to_bytes() == second.to_bytes()
    assert applied(model, Prune(), plan)[0].to_bytes() == first.to_bytes()  # replayed


def test_without_data_or_goal_weights_are_only_cut() -> None:
    model = residual()
    _, _, plan = applied(model, Prune(ratio=0.3, round_to=1, importance="l2"))
    blind, cut = copy(model), applied(model, Prune(repair=False), plan)[0]
    Prune().apply(blind, plan, context(blind))
    assert blind.to_bytes() == cut.to_bytes()


def test_with_a_goal_synthetic_samples_stand_in() -> None:
    model = residual()
    fitted = copy(model)
    ctx = context(fitted)
    Prune(macs=0.6, round_to=1).run(fitted, ctx)
    cut, _, _ = applied(model, Prune(macs=0.6, round_to=1, importance="l2", repair=False))
    assert error(fitted, model) < 0.5 * error(cut, model)
    assert any("synthetic" in text for text in ctx.warnings)


def test_one_layer_is_numpys_least_squares() -> None:
    """Two convs, channels of the first removed: the second is fitted to all 64 positions of all samples."""
    net = Net(5)
    hidden = net.op("Relu", net.conv(net.input(), (6, 3, 3, 3), bias=True, pads=[1] * 4, name="one"))
    model = load(net.model(net.conv(hidden, (4, 6, 1, 1), bias=True, name="two")))
    plan = Plan(({"group": "one", "tensor": "one.out", "remove": [1, 4]},))
    after, _, _ = applied(model, Prune(), plan)
    rows, wanted = [], []
    old = Session(model, outputs=["two.out"])
    new = Session(
        after, outputs=[next(node for node in after.graph.nodes if node.name == "two").inputs[0].name]
    )
    for sample in samples_of(model):
        values = next(iter(new.run(sample.feeds).values()))
        rows.append(values.reshape(4, -1).T.astype(np.float64))
        wanted.append(old.run(sample.feeds)["two.out"].reshape(4, -1).T.astype(np.float64))
    x = np.concatenate(rows)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    weights, bias = (
        node.constant for node in next(node for node in after.graph.nodes if node.name == "two").inputs[1:]
    )
    fitted = np.concatenate([weights.reshape(4, 4).T, bias[None]])
    best = np.linalg.lstsq(x, np.concatenate(wanted), rcond=None)[0]

    def loss(solution: np.ndarray) -> float:
        return float(np.square(x @ solution - np.concatenate(wanted)).sum())

    kept = [0, 2, 3, 5]
    cut = model.graph.nodes[2].inputs[1].constant[:, kept].reshape(4, 4).T
    unrepaired = np.concatenate([cut, model.graph.nodes[2].inputs[2].constant[None]])
    assert loss(best) <= loss(fitted) <= loss(best) + 1e-3 * (loss(unrepaired) - loss(best))


def test_a_channel_that_others_can_stand_in_for_is_free() -> None:
    """Two equal filters of large norm: the norm sees two important channels, the readers need one."""
    model = residual(1)
    node = next(node for node in model.graph.nodes if node.name == "first")
    for index in (1, 2):
        values = np.array(node.inputs[index].constant)
        values[9] = values[4]
        if index == 1:
            values[[4, 9]] *= 3
        node.inputs[index] = model.graph.add_constant("double", values)
    after, _, plan = applied(model, Prune(macs=0.97, round_to=1))
    removed = {item["group"]: item["remove"] for item in plan.items if item["remove"]}
    assert removed["first"][:1] in ([4], [9])
    assert error(after, model) < 1e-3
    _, _, by_norm = applied(model, Prune(ratio=0.1, round_to=1, importance="l2"))
    assert not {4, 9} & set(next(item["remove"] for item in by_norm.items if item["group"] == "first"))


def test_the_residual_sum_is_the_target() -> None:
    model = residual()
    layers = [node for node in model.graph.nodes if node.name in ("second", "expand")]
    cut = next(cuts(model.graph, layers))
    second = next(node for node in model.graph.nodes if node.name == "second")
    with_sum, without = task_of(second, (), set(cut)), task_of(second, (), set())
    assert isinstance(with_sum, Task) and isinstance(without, Task)
    makers = {node.output.name: node.op for node in model.graph.nodes}
    assert makers[with_sum.target] == "Add" and makers[with_sum.branch or ""] == "Relu"
    assert (without.target, without.branch) == (second.output.name, None)
    assert with_sum.seen == (0.0, math.inf) and without.seen == ANYTHING  # a Relu follows the sum


def test_shared_weights_are_not_fitted() -> None:
    """Two branches with one weight: fitting one of them would make it a second constant."""
    net = Net(2)
    x = net.op("Relu", net.conv(net.input(), (8, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    shared = net.random(6, 8, 1, 1, name="shared")
    left = net.op("Conv", x, shared, name="left")
    right = net.op("Conv", net.op("Sigmoid", x), shared, name="right")
    model = load(net.model(net.op("Add", left, right)))
    plan = Plan(({"group": "stem", "tensor": "stem.out", "remove": [0, 5]},))
    after, _, _ = applied(model, Prune(), plan)
    names = {node.inputs[1].name for node in after.graph.nodes if node.name in ("left", "right")}
    assert len(names) == 1


def test_half_precision_stays_half() -> None:
    net = Net(4, np.float16)
    hidden = net.op("Relu", net.conv(net.input(), (6, 3, 3, 3), bias=True, pads=[1] * 4, name="one"))
    model = load(net.model(net.conv(hidden, (4, 6, 1, 1), bias=True, name="two")))
    after, ctx, _ = applied(model, Prune(ratio=0.4, round_to=1))
    assert all(t.dtype == np.float16 for node in after.graph.find("Conv") for t in node.inputs[1:])
    assert any("refitted" in change.what for change in ctx.changes)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_network_comes_layers_come_as_close_as_is_said(seed: int) -> None:
    """The errors that repair reports are those of whole runs of random graphs, which stay valid."""
    model = load(random_cnn(seed))
    FoldBN(lone=True).run(model, context(model))
    ctx = context(model)
    step = Prune(ratio=0.4, round_to=1, importance="l2", repair=False)
    plan = step.plan(model, ctx)
    if not any(item["remove"] for item in plan.items):
        pytest.skip("nothing can be removed here")
    coupling = couple(model, gather_facts(model, ctx))
    keep = read_items(coupling, plan.items)
    original, samples = copy(model), samples_of(model, 24)
    done = repair(model, coupling, keep, samples, ctx)
    tasks = _tasks(model, coupling)
    for one in done:
        measured = _error_at(tasks[one.layer], model, original, samples)
        assert measured < one.before and measured < 1.25 * one.after + 1e-5, one
    remove_channels(model, _with_new_biases(coupling), keep)
    model.check()
    Session(model, optimization="disabled").run(next(iter(ctx.inputs.check)).feeds)


def _tasks(model: ir.Model, coupling: Coupling) -> dict[str, Task]:
    """How each layer is fitted, by its name."""
    names = {layer.node.output.name for layer in coupling.layers if layer.ids is not None}
    nodes = [node for node in model.graph.nodes if node.outputs and node.output.name in names]
    pairs = zip(nodes, cuts(model.graph, nodes), strict=True)
    tasks = {label(node): task_of(node, (), set(cut)) for node, cut in pairs}
    return {name: task for name, task in tasks.items() if isinstance(task, Task)}


def _error_at(task: Task, model: ir.Model, original: ir.Model, samples: data.Samples) -> float:
    """The error at a layer's target as its consumers see it, on the samples that judge."""
    sessions = [Session(one, outputs=[task.target], optimization="disabled") for one in (model, original)]
    values = [
        np.concatenate(
            [
                session.run(sample.feeds)[task.target].astype(np.float64)
                for number, sample in enumerate(samples)
                if judges(number, len(samples))
            ]
        )
        for session in sessions
    ]
    made, wanted = (np.clip(one, *task.seen) for one in values)
    axis = tuple(number for number in range(wanted.ndim) if number != 1)
    spread = wanted - wanted.mean(axis=axis, keepdims=True)
    return float(np.square(made - wanted).sum() / max(np.square(spread).sum(), 1e-30))


def test_too_few_samples_for_a_gram_matrix_are_told() -> None:
    model = residual()
    ctx = context(model, calibration=samples_of(model, 1))
    Prune(macs=0.7, round_to=1).plan(model, ctx)
    assert any("too few for" in text for text in ctx.warnings)
    ctx = context(model, calibration=samples_of(model, 64))
    Prune(macs=0.7, round_to=1).plan(model, ctx)
    assert not any("too few for" in text for text in ctx.warnings)


def test_steps_reach_the_goal_and_replay() -> None:
    model = residual()
    after, ctx, plan = applied(model, Prune(macs=0.5, round_to=1, steps=3))
    assert not ctx.missed
    assert ctx.details == {} or ctx.details["predicted_macs"] <= 0.5
    assert applied(model, Prune(), plan)[0].to_bytes() == after.to_bytes()


def test_what_planning_has_fitted_is_what_carrying_out_comes_to() -> None:
    """Applied with the planning run's notes or without any: the same bytes."""
    model = residual(2)
    together = copy(model)
    ctx = calibrated(together)
    plan = Prune(macs=0.6, round_to=1).plan(together, ctx)
    Prune(macs=0.6, round_to=1).apply(together, plan, ctx)
    apart = copy(model)
    Prune(macs=0.6, round_to=1).apply(apart, plan, calibrated(apart))
    assert together.to_bytes() == apart.to_bytes()


def test_the_plan_explains_itself() -> None:
    model = residual()
    plan = Prune(macs=0.6, round_to=1).plan(model, calibrated(model))
    cut = [item for item in plan.items if item["remove"]]
    assert cut and all(0 < item["left"] < item["channels"] and item["cost"] >= 0 for item in cut)
    assert all(0 < item["macs"] < 1 and item["members"] for item in cut)
    walled = next(item for item in plan.items if item["group"] == "fc")
    assert "model output" in walled["why"] and not walled["remove"]


def test_trials_narrow_one_group_each() -> None:
    model = residual()
    step = Prune(round_to=1)
    trials = list(step.trials(model, calibrated(model)))
    assert {trial.item for trial in trials} >= {"stem", "first", "expand"}
    for trial in trials:
        (item,) = trial.plan.items
        assert item["group"] == trial.item
        assert trial.level == pytest.approx(len(item["remove"]) / item["channels"])
    assert step.for_trials().repair is False


def test_fewer_than_eight_samples_are_fitted_to_and_one_judges() -> None:
    model = residual()
    _, _, plan = applied(model, Prune(ratio=0.3, round_to=1, repair=False))
    after = copy(model)
    ctx = calibrated(after, count=7)
    Prune().apply(after, plan, ctx)
    assert any("refitted" in change.what for change in ctx.changes)
    assert not any("fits no weights" in text for text in ctx.warnings)


def test_one_sample_fits_nothing_and_proves_no_channel_constant() -> None:
    """Behind the pooling every channel is one number, so of one sample they all looked constant."""
    model = residual()
    cut, _, plan = applied(model, Prune(ratio=0.3, round_to=1, repair=False))
    after = copy(model)
    ctx = calibrated(after, count=1)
    Prune().apply(after, plan, ctx)
    fresh = samples_of(model, 4, seed=99)
    np.testing.assert_array_equal(outputs(after, fresh), outputs(cut, fresh))
    assert any("fits no weights" in text for text in ctx.warnings)


def broadcast(gated: bool) -> ir.Model:
    """A pooled branch is added to a layer, or with ``gated`` a pooled layer is added to a branch."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (8, 3, 3, 3), bias=True, name="first"))
    pooled = net.op("GlobalAveragePool", net.conv(x, (6, 8, 1, 1), bias=True, name="pooled"))
    second = net.conv(pooled if gated else x, (6, 6 if gated else 8, 1, 1), bias=True, name="second")
    other = net.conv(x, (6, 8, 1, 1), bias=True, name="other") if gated else pooled
    y = net.op("Relu", net.op("Add", second, other))
    return load(net.model(net.conv(y, (4, 6, 1, 1), bias=True, name="last")))


@pytest.mark.parametrize("gated", [False, True])
def test_a_sum_that_broadcasts_is_no_target(gated: bool) -> None:
    model = broadcast(gated)
    cut, _, plan = applied(model, Prune(ratio=0.4, round_to=1, repair=False))
    after, ctx, _ = applied(model, Prune(ratio=0.4, round_to=1), plan)
    assert any("refitted" in change.what for change in ctx.changes)
    assert error(after, model) < error(cut, model)
