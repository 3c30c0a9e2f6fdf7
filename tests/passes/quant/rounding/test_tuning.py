"""The walk brings outputs closer to those of the float network, and keeps nothing that does not."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir, targets
from graphopt.errors import DataError, UsageError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.rounding import tuning
from graphopt.passes.quant.search.output_sqnr import Deviation
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.degradation import Degradation
from graphopt.solve import limits
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv


def network(seed: int = 3) -> ir.Model:
    """Convolutions, one of them depthwise, ReLUs and a classifier."""
    net = Net(seed)
    x = net.op("Relu", first_conv(net))
    x = net.op("Relu", net.conv(x, (8, 1, 3, 3), group=8, bias=True, name="depthwise"))
    x = net.op("Relu", net.conv(x, (8, 8, 3, 3), name="unbiased"))
    return ir.from_bytes(between_convs(net, x).SerializeToString())


def run(
    model: ir.Model, count: int = 16, target: str = "ort-cpu", **options: object
) -> tuple[Context, float]:
    """Quantize with so many samples; the noise in dB on others."""
    ports = model.signature.inputs
    samples = data.synthetic(ports, Inputs(model).shapes, count, 0)
    others = data.synthetic(ports, Inputs(model).shapes, 16, 1)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load(target))
    judge = Deviation(model.copy(), others, ctx)
    Quant(**{"measure": False, "equalise": "none", **options}).run(model, ctx)  # type: ignore[arg-type]
    model.check()
    return ctx, judge.of(model)


PLAIN = {"rounding": "nearest", "bias_correction": False}


@pytest.mark.parametrize("bits", [8, 4])
def test_each_step_of_the_ladder_helps(bits: int) -> None:
    """Nearest, then rounding, then correcting: the noise falls, or rises by no more than chance."""
    steps = [PLAIN, {"rounding": "second-order", "bias_correction": False}, {}]
    drawn = [[run(network(seed), weight_bits=bits, **step)[1] for step in steps] for seed in (3, 4, 5)]
    noise = np.mean(drawn, axis=0)  # one network with 16 samples says little of steps that fit to them
    assert noise[1] <= noise[0] + 0.3
    assert noise[2] <= noise[1] + 0.3
    if bits == 4:
        assert noise[2] < noise[0] - 3.0


def test_the_report_lists_the_noisiest_layers_first() -> None:
    ctx, _ = run(network(), weight_bits=2, rounding="nearest", refit=False)
    layers = ctx.details["layers"]
    levels = [layer["snr_db"] for layer in layers]
    assert levels == sorted(levels)
    assert all(layer["local_snr_db"] >= layer["snr_db"] - 3.0 for layer in layers)
    assert any(layer["action"] for layer in layers)


def test_few_samples_do_no_harm() -> None:
    plain = run(network(), 1, **PLAIN)[1]
    assert run(network(), 1)[1] <= plain + 1.0


def test_dead_channels_and_constant_activations_stay_finite() -> None:
    model = network()
    for number, conv in enumerate(model.graph.find("Conv")):
        weight = conv.inputs[1].constant.copy()
        weight[0] = 0.0 if number else 1e-10
        model.graph.set_constant(conv, 1, weight)
    _, noise = run(model)
    assert noise < -10.0


def test_values_that_are_not_finite_are_named() -> None:
    net = Net(3)
    root = net.op("Sqrt", first_conv(net))  # of negative numbers too
    model = ir.from_bytes(between_convs(net, root).SerializeToString())
    with pytest.raises(DataError, match=f"{root}.*NaN or infinite"):
        run(model)


def test_ranges_are_kept_in_a_file(tmp_path) -> None:
    path, cache = tmp_path / "ranges.json", tmp_path / "calibration.cache"
    first, second = network(), network()
    run(first, ranges=str(path), tensorrt_cache=str(cache), equalise="activations")
    run(second, 2, ranges=str(path), **PLAIN)  # other samples: the ranges are those of the file
    scales = [
        {n.output.name: n.inputs[1].constant for n in m.graph.find("QuantizeLinear")} for m in (first, second)
    ]
    assert scales[0] == scales[1]
    with pytest.raises(UsageError, match="another model"):
        run(network(4), ranges=str(path))
    with pytest.raises(UsageError, match="minmax"):
        run(network(), ranges=str(path), calibrator="mse")
    header, *lines = cache.read_text().splitlines()
    assert header.startswith("TRT-")
    name, digits = lines[0].split(": ")
    assert name == "x"
    assert 0 < np.frombuffer(bytes.fromhex(digits), ">f4")[0] < 1


def stored_ranges(model: ir.Model, calibrator: str) -> tuple[dict[str, tuple[float, float]], Context]:
    """What can be stored of each tensor, and the run."""
    samples = data.synthetic(model.signature.inputs, Inputs(model).shapes, 8, 0)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("generic"))
    options = {**PLAIN, "equalise": "none", "absorb": False, "keep_noisy_float": False, "measure": False}
    plan = Quant(
        **options, calibrator=calibrator, percentile=99.0 if calibrator == "percentile" else 99.999
    ).plan(  # type: ignore[arg-type]
        model, ctx
    )
    made = {}
    for item in plan.items:
        if "scale" in item and not item.get("absorbed") and "last" not in item["tensor"]:
            made[item["tensor"]] = tuple(item["scale"] * (end - item["zero_point"]) for end in (0, 255))
    return made, ctx


def storing_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(np.square(np.clip(np.round(values / step) * step, low, high) - values).mean())


def wanted_range(calibrator: str, values: np.ndarray) -> tuple[float, float]:
    """By the definition, from all values, (samples, elements)."""
    if calibrator == "mean":
        return float(values.min(axis=1).mean()), float(values.max(axis=1).mean())
    if calibrator == "moving":
        low, high = values[0].min(), values[0].max()
        for sample in values[1:]:
            low, high = 0.8 * low + 0.2 * sample.min(), 0.8 * high + 0.2 * sample.max()
        return float(low), float(high)
    return float(values.min()), float(values.max())


@pytest.mark.parametrize("calibrator", ["minmax", "mean", "moving", "percentile", "entropy", "mse"])
def test_every_calibrator_finds_the_range_of_its_definition(calibrator: str) -> None:
    model = signed_network()
    ranges, ctx = stored_ranges(model, calibrator)
    session = ctx.session(model, outputs=list(ranges))
    runs = [session.run(sample.feeds) for sample in ctx.calibration]
    assert len(ranges) >= 3
    for name, (low, high) in ranges.items():
        values = np.stack([run[name].ravel() for run in runs]).astype(np.float64)
        whole = float(np.ptp(np.append(values, 0.0)))
        if calibrator in ("mse", "entropy") and name != "x":
            assert whole / 10 <= high - low <= 1.01 * whole
            cut = ((values < low) | (values > high)).mean()
            assert cut < 0.05
        if calibrator == "mse" and name != "x":
            best = min(
                storing_error(values, f * values.min(), f * values.max()) for f in np.linspace(0.3, 1, 71)
            )
            assert storing_error(values, low, high) <= 1.05 * best
        if calibrator == "percentile" and name != "x":  # within a bin values are taken as evenly spread
            shares = [(values < low - 1e-6).mean(), (values > high + 1e-6).mean()]
            near = 0.002 + 1.0 / values.size
            assert sum(shares) == pytest.approx(0.01, abs=near)
            assert min(shares) == pytest.approx(0.005 if values.min() < 0 else 0.0, abs=near)
        elif calibrator in ("minmax", "mean", "moving"):
            ends = wanted_range("minmax" if name == "x" else calibrator, values)
            step = (high - low) / 255
            assert (low, high) == pytest.approx((min(ends[0], 0.0), max(ends[1], 0.0)), abs=1.5 * step), name


def signed_network() -> ir.Model:
    """Tensors of both signs, and one that is never negative, with long tails."""
    net = Net(5)
    x = first_conv(net)
    x = net.conv(net.op("Mul", x, net.op("Mul", x, x)), (8, 8, 3, 3), bias=True, name="second")
    return ir.from_bytes(between_convs(net, net.op("LeakyRelu", x, alpha=0.3)).SerializeToString())


def test_a_budget_that_8_bits_meet_excludes_nothing() -> None:
    ctx, _ = run(network(), max_drop=50.0)
    assert not ctx.missed
    assert not ctx.skips
    assert [step for step in ctx.details["budget"] if step.startswith("all in 8 bits")]


def climbed(target: str, **options: object) -> tuple[list[str], Context]:
    """What a budget that nothing meets but float tries, in order."""
    model = network()
    ctx = Context(Inputs(model), target=targets.load(target))
    given = {"max_drop": 0.0, "weight_bits": 2, "measure": False, "equalise": "none", **PLAIN, **options}
    plan = Quant(**given).plan(model, ctx)  # type: ignore[arg-type]
    assert plan.items or ctx.skips
    return [step.split(":")[0] for step in ctx.details["budget"]], ctx


def test_a_budget_that_is_missed_climbs_the_ladder_and_then_leaves_layers_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Degradation, "of", lambda self, model: 1.0)
    steps, ctx = climbed("ort-cpu")
    ways = ["all in 8 bits", "calibrator=mean", "calibrator=mse", "rounding=second-order"]
    assert steps[:4] == ways
    assert all(step.endswith("layers float") for step in steps[4:])
    assert any("nothing can be stored" in skip.reason for skip in ctx.skips)
    wide, _ = climbed("generic")
    assert wide[4] == "activations=uint16"


def test_what_meets_the_budget_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """16-bit activations, where nothing else is enough: the plan stores them, at the opset they need."""
    model = network()
    monkeypatch.setattr(Degradation, "of", lambda self, made: 0.0 if made.opset >= 21 else 1.0)
    ctx = Context(Inputs(model), target=targets.load("generic"))
    pass_ = Quant(max_drop=0.5, measure=False, equalise="none")
    before = model.to_bytes()
    plan = pass_.plan(model, ctx)
    assert model.to_bytes() == before
    assert {item["dtype"] for item in plan.items if "scale" in item} == {"uint16"}
    pass_.apply(model, plan, ctx)
    model.check()
    assert model.opset == 21


def test_trials_leave_the_model_alone_and_store_one_layer_each() -> None:
    model = network()
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    before = model.to_bytes()
    found = list(Quant().trials(model, ctx))
    assert model.to_bytes() == before
    assert {trial.level for trial in found} == {8.0, 4.0}
    for trial in found:
        assert [item["node"] for item in trial.plan.items if "weight" in item] == [trial.item]


def test_a_layer_too_large_for_its_gram_matrix_keeps_nearest_integers_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory decides, in bytes for all groups: 72 inputs of one output are too many here, 27 are not."""
    monkeypatch.setattr(limits, "GRAM_BYTES", limits.gram_bytes(1, 40))
    built: list[int] = []
    gram = tuning.Gram

    def spy(patches: object, **options: object) -> object:
        made = gram(patches, **options)  # type: ignore[arg-type]
        built.append(1)
        return made

    monkeypatch.setattr(tuning, "Gram", spy)
    model, plain = network(), network()
    ctx, _ = run(model, keep_noisy_float=False, absorb=False)
    run(plain, keep_noisy_float=False, absorb=False, **PLAIN)
    integers = [
        {node.name: node.inputs[1].producer.inputs[0].constant for node in one.graph.find("Conv")}
        for one in (model, plain)
    ]
    assert np.array_equal(integers[0]["unbiased"], integers[1]["unbiased"])
    assert not np.array_equal(integers[0]["first"], integers[1]["first"])
    assert any("unbiased keep the nearest integers" in text for text in ctx.warnings)
    assert all(layer["layer"] != "unbiased.out" for layer in ctx.details["layers"])
    assert len(built) == 2 * len(ctx.details["layers"])  # none for what is left out
