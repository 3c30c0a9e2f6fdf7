"""What counts as harm when nobody says what is right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.metrics import MetricSpec
from graphopt.pipeline import Context
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.degradation import Degradation, bisect_within_budget
from graphopt.pipeline.search.noise_share import Variation
from graphopt.pipeline.search.search_trace import SearchTrace
from tests.corpus._net import Net


def test_variation_is_the_power_around_the_mean() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, (40, 3, 4))
    found = Variation()
    for value in values:
        found.add(value)
    assert found.power == pytest.approx(np.square(values - values.mean(axis=0)).sum())
    found.add(np.ones((2, 2)))
    assert found.power == pytest.approx(np.square(values).sum() + 4)


def test_a_classifier_that_always_answers_the_same_hides_no_harm(fakes: SimpleNamespace) -> None:
    """One bias dominates all scores: no class ever changes, however wrong the rest becomes."""
    proto = fakes.build()
    bias = next(t for t in proto.graph.initializer if t.name == "fc_bias")
    bias.raw_data = np.array([99, 0, 0, 0, 0, 0, 0], np.float32).tobytes()
    model = ir.from_bytes(proto.SerializeToString())
    samples = data.synthetic(model.signature.inputs, {}, 32, 0)
    harm = Degradation(model, Context(Inputs(model, calibration=samples)))
    assert "noise" in harm.measure
    broken = ir.from_bytes(proto.SerializeToString())
    gemm = next(iter(broken.graph.find("Gemm")))
    broken.graph.set_constant(gemm, 1, np.zeros_like(gemm.inputs[1].constant))
    assert harm.of(model) == 0.0
    assert harm.of(broken) > 50.0


class Curve:
    """Harm that is a function of the step that a fake model stands at."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.step, self.trials = values, 0, 0

    def compress(self, step: int) -> None:
        self.step = step

    def of(self, model: object) -> float:
        self.trials += 1
        return self.values[self.step]

    def snapshot(self) -> int:
        return self.step

    def restore(self, step: int) -> None:
        self.step = step


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("end", [0.3, 1.1, 4.0, 60.0])
def test_a_search_ends_at_the_limit_or_where_asked_close_to_it(power: float, end: float) -> None:
    curve = Curve([end * (step / 63) ** power for step in range(64)])
    last = bisect_within_budget(curve, curve.compress, curve, 1.0, 64)  # type: ignore[arg-type]
    assert last == max(step for step in range(64) if curve.values[step] <= 1.0)
    assert curve.trials <= 6
    curve.trials = 0
    found = bisect_within_budget(curve, curve.compress, curve, 1.0, 64, 0.8)  # type: ignore[arg-type]
    assert curve.values[found] <= 1.0
    assert found == 63 or curve.values[found] >= 0.8 or curve.values[found + 1] > 1.0
    assert curve.trials <= 7
    assert curve.step == 0  # put back


def test_without_allowance_only_what_costs_nothing_goes() -> None:
    curve = Curve([0.0] * 20 + [0.5] * 44)
    found = bisect_within_budget(curve, curve.compress, curve, 0.0, 64)  # type: ignore[arg-type]
    assert found == 19


def test_what_was_tried_becomes_a_plot(fakes: SimpleNamespace) -> None:
    curve = Curve([step / 10 for step in range(64)])
    tried: SearchTrace[int] = SearchTrace(lambda step: 1.0 - step / 64)
    last = bisect_within_budget(curve, curve.compress, curve, 1.0, 64, note=tried.note)  # type: ignore[arg-type]
    ctx = Context(Inputs(ir.from_bytes(fakes.build().SerializeToString())))
    tried.leave(ctx, last, SimpleNamespace(kind="loss"), 1.0)  # type: ignore[arg-type]
    (figure,) = ctx.figures
    (line,) = figure.data["series"]
    assert len(figure.data["x"]) == curve.trials
    steps = [round(64 * (1.0 - left)) for left in figure.data["x"]]
    assert line["y"] == pytest.approx([curve.values[step] for step in steps])
    assert figure.data["marks"] == [{"x": 1.0 - last / 64, "label": "chosen"}]
    assert figure.data["limit"] == 1.0


def test_each_way_of_trying_has_a_line_of_its_own(fakes: SimpleNamespace) -> None:
    ctx = Context(Inputs(ir.from_bytes(fakes.build().SerializeToString())))
    tried: SearchTrace[float] = SearchTrace(lambda left: left)
    tried.leave(ctx, 1.0, SimpleNamespace(kind="loss"), 1.0)  # type: ignore[arg-type]
    assert not ctx.figures, "nothing was tried"
    for step, harm, way in ((0.5, 3.0, "quick"), (0.7, 1.0, "quick"), (0.5, 0.5, "fitted")):
        tried.note(step, harm, way)
    tried.leave(ctx, 0.5, SimpleNamespace(kind="loss"), 1.0)  # type: ignore[arg-type]
    assert ctx.figures[0].data["x"] == [0.5, 0.7]
    assert ctx.figures[0].data["series"] == [
        {"name": "quick", "y": [3.0, 1.0]},
        {"name": "fitted", "y": [0.5, None]},
    ]


def test_harm_that_is_no_number_is_no_step_to_take() -> None:
    curve = Curve([0.0, 0.1, float("nan"), float("nan"), float("nan")])
    assert bisect_within_budget(curve, curve.compress, curve, 1.0, 5) == 1  # type: ignore[arg-type]


def segmentation(factor: float) -> ir.Model:
    """Scores, and the class of each pixel as the only output."""
    net = Net(1)
    scores = net.op("Mul", net.conv(net.input(), (4, 3, 1, 1), name="c"), net.array(factor))
    proto = net.model(net.op("ArgMax", scores, axis=1))
    return ir.from_bytes(proto.SerializeToString())


def test_answers_that_are_integers_are_judged_by_the_scores_before() -> None:
    model = segmentation(1.0)
    samples = data.synthetic(model.signature.inputs, {}, 8, 0)
    harm = Degradation(model, Context(Inputs(model, calibration=samples)))
    assert harm.of(segmentation(1.0)) == 0.0
    assert 0.0 < harm.of(segmentation(1.1)) < 10.0
    assert harm.of(segmentation(float("nan"))) == float("inf")


@pytest.mark.parametrize("ones", [(), (1,), (1, 1)])
def test_scores_may_have_trailing_dimensions_of_one(ones: tuple[int, ...]) -> None:
    def scores(factor: float) -> ir.Model:
        net = Net(1)
        x = net.op("GlobalAveragePool", net.conv(net.input(), (4, 3, 3, 3), name="c"))
        x = net.op("Reshape", net.op("Mul", x, net.array(factor)), np.array([1, 4, *ones]))
        return ir.from_bytes(net.model(x).SerializeToString())

    model = scores(1.0)
    samples = data.synthetic(model.signature.inputs, {}, 8, 0)
    harm = Degradation(model, Context(Inputs(model, calibration=samples)))
    assert harm.of(scores(1.0)) == 0.0
    assert harm.of(scores(-1.0)) > 50.0
    assert harm.of(scores(float("nan"))) == float("inf")


def _segmenter(weights: np.ndarray) -> ir.Model:
    net = Net(0)
    scores = net.op("Conv", net.input("x", ("N", 3, 8, 8)), weights[:, :, None, None].astype(np.float32))
    return ir.from_bytes(net.model(scores).SerializeToString())


def _degradation(labels: np.ndarray | None = None, **judged_by: object) -> tuple[Degradation, Context]:
    """Of a segmenter whose scores are its pixels, judged on random images."""
    model = _segmenter(np.eye(3))
    x = np.random.default_rng(0).random((8, 3, 8, 8)).astype(np.float32)
    arrays = {"x": x} if labels is None else {"x": x, "labels": labels}
    inputs = Inputs(model, calibration=data.from_arrays(arrays, model.signature.inputs))
    ctx = Context(inputs, RunSettings(judged_by=MetricSpec(**judged_by)))  # type: ignore[arg-type]
    return Degradation(model, ctx), ctx


def test_the_metric_of_the_run_is_that_of_the_search() -> None:
    brighter, other = _segmenter(2 * np.eye(3)), _segmenter(np.diag([1.0, 1.0, 0.2]))
    noise, _ = _degradation()
    masks, _ = _degradation(task="segmentation")
    assert "noise" in noise.measure and "masks that changed" in masks.measure
    assert noise.of(brighter) > 100.0 and masks.of(brighter) == 0.0, "the same class everywhere"
    assert 30.0 < masks.of(other) < 100.0


def test_a_function_of_the_user_judges_the_search_on_the_safe_side() -> None:
    def bright(outputs: dict[str, np.ndarray], labels: object) -> np.ndarray:
        (scores,) = outputs.values()
        return scores.mean(axis=(1, 2, 3))

    own, _ = _degradation(metric=bright)
    assert own.kind == "loss of bright"
    assert own.of(_segmenter(np.eye(3))) == 0.0
    half = own.of(_segmenter(0.5 * np.eye(3)))
    assert 25.0 < half < 26.0, "a quarter lost, and a standard error"
    assert own.of(_segmenter(np.full((3, 3), np.nan))) == np.inf


def test_a_metric_that_the_calibration_samples_do_not_allow_is_said() -> None:
    def needs(outputs: object, labels: np.ndarray) -> np.ndarray:
        return labels.astype(float)

    own, ctx = _degradation(metric=needs)
    assert "noise" in own.kind and "there are no labels" not in own.kind
    assert "does not judge the calibration samples by the run's metric" in ctx.warnings[0]
    own, ctx = _degradation(np.arange(8), metric=needs)
    assert own.kind == "loss of needs" and not ctx.warnings and ctx.inputs.labels_used
