"""Sparsify: so many zeros as asked, in the places that cost least, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.errors import PassError, UsageError
from graphopt.passes.sparsify import Sparsify
from graphopt.passes.sparsify.elimination import sparse_fit
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tests.corpus import random_cnn
from tests.corpus._net import Net


def load(net: Net, output: str) -> ir.Model:
    return ir.from_bytes(net.model(output).SerializeToString())


def small(seed: int = 0, dtype: type = np.float32) -> ir.Model:
    """A conv, a depthwise conv, a conv and a classifier on x[1,3,8,8]."""
    net = Net(seed, dtype)
    y = net.op("Relu", net.conv(net.input(), (16, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    y = net.op("Relu", net.conv(y, (16, 1, 3, 3), bias=True, group=16, pads=[1] * 4, name="depthwise"))
    y = net.op("Relu", net.conv(y, (24, 16, 3, 3), bias=True, pads=[1] * 4, name="wide"))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", y))
    return load(net, net.gemm(pooled, (5, 24), bias=(5,), transB=1, name="fc"))


def samples_of(model: ir.Model, count: int = 64, seed: int = 3) -> data.Samples:
    return data.synthetic(model.signature.inputs, dict(Context(Inputs(model)).shapes), count, seed)


def run(model: ir.Model, step: Sparsify, calibrated: bool = True) -> tuple[ir.Model, Context]:
    after = ir.from_bytes(model.to_bytes())
    inputs = Inputs(after, calibration=samples_of(model)) if calibrated else Inputs(after)
    ctx = Context(inputs)
    step.run(after, ctx)
    after.check()
    return after, ctx


def run_on(count: int, model: ir.Model, step: Sparsify) -> tuple[ir.Model, Context]:
    """The pass on so many calibration samples."""
    after = ir.from_bytes(model.to_bytes())
    ctx = Context(Inputs(after, calibration=samples_of(model, count)))
    step.run(after, ctx)
    return after, ctx


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    return {node.name: node.inputs[1].constant for node in model.graph.find("Conv", "Gemm", "MatMul")}


def error(model: ir.Model, original: ir.Model) -> float:
    old, new = Session(original), Session(model)
    pairs = [
        (next(iter(old.run(s.feeds).values())), next(iter(new.run(s.feeds).values())))
        for s in samples_of(original, 40, seed=9)
    ]
    wanted = np.concatenate([a for a, _ in pairs])
    got = np.concatenate([b for _, b in pairs])
    return float(np.square(got - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.8])
def test_so_many_weights_are_zero_as_asked(ratio: float, calibrated: bool) -> None:
    after, ctx = run(small(), Sparsify(ratio=ratio), calibrated)
    for name, values in weights(after).items():
        spare = 16  # rounding, in each block of columns and each group
        assert abs(int((values == 0).sum()) - ratio * values.size) <= spare, name
    assert ctx.details["sparsity"] == pytest.approx(ratio, abs=0.01)
    assert ctx.details["compressed_after"] < ctx.details["compressed_before"]
    assert "do not get faster" in ctx.summary


def test_without_samples_the_smallest_go_and_the_others_stay() -> None:
    model = small()
    after, _ = run(model, Sparsify(ratio=0.5), calibrated=False)
    for name, values in weights(model).items():
        new = weights(after)[name]
        assert np.array_equal(new[new != 0], values[new != 0])
        assert np.abs(values[new == 0]).max() <= np.abs(values[new != 0]).min()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_weights_below_a_threshold_go_and_no_others(calibrated: bool, dtype: type) -> None:
    """Also where the others are fitted: a threshold says which weights go, not only how many."""
    model = small(dtype=dtype)
    after, ctx = run(model, Sparsify(threshold=0.1), calibrated)
    fitted = 0
    for name, values in weights(model).items():
        gone = np.abs(values) < dtype(0.1)
        assert gone.any() and np.array_equal(weights(after)[name] == 0, gone)
        fitted += not np.array_equal(weights(after)[name][~gone], values[~gone])
    assert bool(fitted) == calibrated
    assert "those below 0.1" in ctx.changes[0].what


def test_a_plan_says_the_threshold() -> None:
    model = small()
    plan = Sparsify(threshold=0.1).plan(model, Context(Inputs(model)))
    for item in plan.items:
        values = weights(model)[item["layer"]]
        assert (item["threshold"], item["zeros"]) == (0.1, int((np.abs(values) < np.float32(0.1)).sum()))


@pytest.mark.parametrize("calibrated", [False, True])
def test_two_of_four_channels_at_every_place(calibrated: bool) -> None:
    after, _ = run(small(), Sparsify(pattern="2of4"), calibrated)
    found = weights(after)
    wide = found["wide"].reshape(24, 4, 4, 9)  # output, block of input channels, channel, place
    assert ((wide != 0).sum(axis=2) == 2).all()
    assert ((found["fc"].reshape(5, 6, 4) != 0).sum(axis=2) == 2).all()
    assert (found["depthwise"] != 0).all()  # one input channel a group: no block of four


@pytest.mark.parametrize("seed", range(3))
def test_fitting_loses_less_than_plain_zeros(seed: int) -> None:
    model = small(seed)
    step = Sparsify(ratio=0.6)
    fitted, _ = run(model, step)
    plain, _ = run(model, Sparsify(ratio=0.6, repair=False))
    assert error(fitted, model) < 0.7 * error(plain, model)


def test_global_ranking_spares_layers_of_few_small_weights() -> None:
    model = small()
    wide = next(node for node in model.graph.nodes if node.name == "wide")
    values = np.array(wide.inputs[1].constant)
    values[:, :8] *= 1e-3
    wide.inputs[1] = model.graph.add_constant("tiny", values)
    after, _ = run(model, Sparsify(ratio=0.45, ranking="global", repair=False))
    share = {name: float((values == 0).mean()) for name, values in weights(after).items()}
    assert share["wide"] > 0.45 > share["stem"]


def test_shared_weights_stay_shared() -> None:
    net = Net(2)
    x = net.op("Relu", net.conv(net.input(), (8, 3, 3, 3), bias=True, pads=[1] * 4, name="stem"))
    shared = net.random(6, 8, 1, 1, name="shared")
    left = net.op("Conv", x, shared, name="left")
    right = net.op("Conv", net.op("Sigmoid", x), shared, name="right")
    after, _ = run(load(net, net.op("Add", left, right)), Sparsify(ratio=0.5))
    both = [node.inputs[1] for node in after.graph.nodes if node.name in ("left", "right")]
    assert both[0] is both[1] and (both[0].constant == 0).mean() == 0.5


def test_half_precision_stays_half() -> None:
    after, _ = run(small(1, np.float16), Sparsify(ratio=0.5))
    assert all(values.dtype == np.float16 for values in weights(after).values())


def test_exclude_include_and_types() -> None:
    after, ctx = run(small(), Sparsify(ratio=0.5, exclude=("Gemm",), include=("stem", "w*", "fc")))
    touched = {name for name, values in weights(after).items() if (values == 0).any()}
    assert touched == {"stem", "wide"}
    assert {skip.node for skip in ctx.skips} >= {"depthwise", "fc"}


@pytest.mark.parametrize("options", [{"exclude": ("nothing",)}, {"include": ("conv9",)}])
def test_a_name_that_matches_nothing_is_refused(options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="matches no node"):
        run(small(), Sparsify(ratio=0.5, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"ratio": 0.5, "threshold": 0.1},
        {"pattern": "4of2"},
        {"pattern": "2:4"},
        {"pattern": "2of4", "ranking": "global"},
        {"threshold": 0.1, "ranking": "global"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Sparsify(**options)  # type: ignore[arg-type]


def test_a_plan_replays_and_can_be_edited() -> None:
    model = small()
    plan = Sparsify(ratio=0.5).plan(model, Context(Inputs(model, calibration=samples_of(model))))
    edited = Plan(tuple({**item, "ratio": 0.25} for item in plan.items if item["layer"] == "wide"))
    after = ir.from_bytes(model.to_bytes())
    Sparsify().apply(after, edited, Context(Inputs(after, calibration=samples_of(model))))
    share = {name: float((values == 0).mean()) for name, values in weights(after).items()}
    assert share == {"stem": 0.0, "depthwise": 0.0, "wide": 0.25, "fc": 0.0}
    with pytest.raises(PassError, match="does not have"):
        Sparsify().apply(after, Plan(({"layer": "x", "tensor": "x", "ratio": 0.5},)), Context(Inputs(after)))


def test_nothing_to_do_changes_no_bit() -> None:
    model = small()
    after, ctx = run(model, Sparsify(ratio=0.0))
    assert after.to_bytes() == model.to_bytes()
    assert any("nothing to zero" in text for text in ctx.warnings)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_network_comes_half_of_each_weight_goes_and_nothing_else(seed: int) -> None:
    model = ir.from_bytes(random_cnn(seed).SerializeToString())
    after, ctx = run(model, Sparsify(ratio=0.5))
    changed = {change.node for change in ctx.changes}
    before = {node.name: node for node in model.graph.nodes}
    for node in after.graph.nodes:
        pairs = list(zip(node.inputs, before[node.name].inputs, strict=False))
        values = [(new.constant, old.constant) for new, old in pairs if old.constant is not None]
        if node.name in changed:
            weight, old = values.pop(0)
            assert int((weight == 0).sum()) >= round(0.5 * old.size) > 0, node.name
            values = values[1:] if node.op != "MatMul" else values  # the bias makes up for what went
        assert all(np.array_equal(new, old) for new, old in values), node.name
    answers = Session(after, optimization="disabled").run(next(iter(ctx.inputs.check)).feeds)
    assert all(np.isfinite(value).all() for value in answers.values())


def test_sparse_fit_beats_zeroing_where_inputs_go_together() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 48)) @ (np.eye(48) + 0.3 * rng.normal(size=(48, 48)))
    dense = rng.normal(size=(1, 48, 6))
    gram = (x.T @ x)[None]

    def half(costs: np.ndarray) -> np.ndarray:
        gone = np.zeros(costs.size, bool)
        gone[np.argsort(costs, axis=None)[: costs.size // 2]] = True
        return gone.reshape(costs.shape)

    found = sparse_fit(gram, dense, half)
    plain = np.where(half(np.square(dense[0]).T).T, 0.0, dense[0])
    losses = [float(np.square(x @ (one - dense[0])).sum()) for one in (found[0], plain)]
    assert (found == 0).sum() == 144
    assert losses[0] < 0.7 * losses[1]


def test_fewer_than_eight_samples_are_fitted_to_and_one_judges() -> None:
    model = small()
    after, ctx = run_on(7, model, Sparsify(ratio=0.5))
    plain, _ = run(model, Sparsify(ratio=0.5, repair=False))
    assert error(after, model) < error(plain, model)
    assert not any("output error 0.0%" in change.what for change in ctx.changes)
    assert not any("fits no weights" in text for text in ctx.warnings)


def test_one_sample_fits_nothing_and_no_error_is_claimed() -> None:
    model = small()
    after, ctx = run_on(1, model, Sparsify(ratio=0.5))
    plain, _ = run(model, Sparsify(ratio=0.5, repair=False))
    assert after.to_bytes() == plain.to_bytes()
    assert any("fits no weights" in text for text in ctx.warnings)
    assert ctx.changes and not any("output error" in change.what for change in ctx.changes)


def test_layers_without_whole_blocks_of_inputs_are_named() -> None:
    _, ctx = run(small(), Sparsify(pattern="2of4"))
    assert {skip.node for skip in ctx.skips} == {"stem", "depthwise"}
    assert all("4" in skip.reason for skip in ctx.skips)
