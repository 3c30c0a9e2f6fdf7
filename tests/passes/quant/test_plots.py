"""The plots that quant leaves: what can be stored of tensors, what a budget tried, what rounding costs."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import calibration
from graphopt.passes.quant.calibration.parameters import Parameters, activation_parameters
from graphopt.passes.quant.plots import MOST, storing_noise
from graphopt.pipeline import Context
from graphopt.pipeline.search.degradation import Degradation
from graphopt.record.plots import Figure
from tests.passes.quant.rounding.test_tuning import climbed, network, run
from tests.passes.quant.small import PLAIN, quantized
from tests.passes.quant.test_quant import make_plan, small


def of(ctx: Context, kind: str, title: str = "") -> list[Figure]:
    return [figure for figure in ctx.figures if figure.kind == kind and title in figure.title]


def histogram_of(values: np.ndarray) -> calibration.Histogram:
    made = calibration.Histogram()
    made.update(values.astype(np.float32))
    return made


@pytest.mark.parametrize("calibrator", ["minmax", "mse"])
def test_thresholds_are_what_the_integers_can_say(calibrator: str) -> None:
    plan, ctx = make_plan(small(), calibrator=calibrator)
    stored = {
        (item["absorbed"][-1] if "absorbed" in item else item["tensor"]): item
        for item in plan.items
        if "scale" in item
    }
    figures = of(ctx, "histogram")
    assert figures and len(figures) <= MOST
    for figure in figures:
        scale, zero_point = stored[figure.node]["scale"], stored[figure.node]["zero_point"]
        wanted = [(0 - zero_point) * scale, (255 - zero_point) * scale]
        assert figure.data["thresholds"] == pytest.approx(wanted, rel=1e-6)
        assert figure.data["low"] <= 0.0 <= figure.data["high"]


def test_tensors_that_lose_most_come_first() -> None:
    _, ctx = quantized(small())
    levels = [float(figure.title.split(" dB")[0]) for figure in of(ctx, "histogram")]
    assert levels == sorted(levels)
    assert len(levels) == len({figure.node for figure in of(ctx, "histogram")}) > 2


def test_noise_of_storing_is_what_rounding_does() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 16384)
    for low, high in ((-5.0, 5.0), (-1.0, 2.0), (-80.0, 5.0)):
        how = activation_parameters(low, high)
        integers = np.clip(np.round(values / how.scale) + how.zero_point, how.lowest, how.highest)
        noise = np.square((integers - how.zero_point) * how.scale - values).mean() / values.var()
        assert storing_noise(histogram_of(values), how) == pytest.approx(noise, rel=0.05)


def test_what_does_not_vary_has_no_noise() -> None:
    assert storing_noise(histogram_of(np.zeros(10)), Parameters(1.0, 0)) == 0.0
    assert storing_noise(calibration.Histogram(), Parameters(1.0, 0)) == 0.0


def test_what_a_budget_tried_is_shown_beside_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Degradation, "of", lambda self, model: 1.0)
    steps, ctx = climbed("ort-cpu")
    (figure,) = of(ctx, "bars", "max_drop")
    assert [name.split(":")[0] for name in figure.data["names"]] == steps
    assert figure.data["values"] == [1.0] * len(steps)
    assert figure.data["limit"] == 0.0


def test_rounding_is_shown_layer_by_layer_where_it_was_kept() -> None:
    ctx, _ = run(network(), target="generic")  # kept on every processor: none of its kernels is asked
    known = {layer["layer"]: layer["local_snr_db"] for layer in ctx.details["layers"]}
    (figure,) = of(ctx, "bars", "rounding")
    assert sorted(figure.data["values"]) == pytest.approx(sorted(known.values()), abs=0.01)
    _, plain = quantized(small(), **PLAIN)
    assert not of(plain, "bars")


def test_weights_alone_need_no_histograms() -> None:
    _, ctx = quantized(small(), **{**PLAIN, "mode": "weights"})
    assert not ctx.figures
