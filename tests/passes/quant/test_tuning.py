"""The walk brings outputs closer to those of the float network, and keeps nothing that does not."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.errors import DataError, UsageError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.deviation import Deviation
from graphopt.pipeline import Context
from graphopt.pipeline.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv


def network(seed: int = 3) -> ir.Model:
    """Convolutions, one of them depthwise, ReLUs and a classifier."""
    net = Net(seed)
    x = net.op("Relu", first_conv(net))
    x = net.op("Relu", net.conv(x, (8, 1, 3, 3), group=8, bias=True, name="depthwise"))
    x = net.op("Relu", net.conv(x, (8, 8, 3, 3), name="unbiased"))
    return ir.from_bytes(between_convs(net, x).SerializeToString())


def run(model: ir.Model, count: int = 16, **options: object) -> tuple[Context, float]:
    """Quantize with so many samples; the noise in dB on others."""
    ports = model.signature.inputs
    samples = data.synthetic(ports, Inputs(model).shapes, count, 0)
    others = data.synthetic(ports, Inputs(model).shapes, 16, 1)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("ort-cpu"))
    judge = Deviation(model.copy(), others, ctx)
    Quant(**{"measure": False, "equalise": "none", **options}).run(model, ctx)  # type: ignore[arg-type]
    model.check()
    return ctx, judge.of(model)


PLAIN = {"rounding": "nearest", "bias_correction": False}


@pytest.mark.parametrize("bits", [8, 4])
def test_each_step_of_the_ladder_helps(bits: int) -> None:
    """Nearest, then rounding, then correcting: the noise falls, or rises by no more than chance."""
    steps = [PLAIN, {"rounding": "second-order", "bias_correction": False}, {}]
    noise = [run(network(), weight_bits=bits, **step)[1] for step in steps]
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


@pytest.mark.parametrize("calibrator", ["mean", "moving", "percentile", "entropy", "mse"])
def test_every_calibrator_gives_a_working_model(calibrator: str) -> None:
    _, noise = run(network(), calibrator=calibrator, **PLAIN)
    assert noise < -12.0


def test_a_budget_that_8_bits_meet_excludes_nothing_and_one_that_they_miss_does() -> None:
    ctx, noise = run(network(), max_drop=50.0)
    assert not ctx.missed
    assert not ctx.skips
    tight = network()
    tight_ctx, closer = run(tight, max_drop=0.0, weight_bits=3, **PLAIN)
    assert any("max_drop" in skip.reason for skip in tight_ctx.skips) or tight_ctx.missed
    assert closer <= noise + 60.0
    assert runtime.Session(tight)


def test_trials_leave_the_model_alone_and_store_one_layer_each() -> None:
    model = network()
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    before = model.to_bytes()
    found = list(Quant().trials(model, ctx))
    assert model.to_bytes() == before
    assert {trial.level for trial in found} == {8.0, 4.0}
    for trial in found:
        assert [item["node"] for item in trial.plan.items if "weight" in item] == [trial.item]
