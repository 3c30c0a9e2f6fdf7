"""Of several ways to set weights the one that held-out samples prefer, and a walk that says what it left."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.solve import Judged, Judging, LayerRegression, LayerwiseFit, judges
from tests.corpus._net import Net

Sums = list[float]


def judged(error: dict[float, float]) -> Judged[Sums]:
    """Sums that are lists of numbers; ``error`` is that of weights on the judging ones."""
    return Judged([1.0], [2.0], lambda one, other: one + other, lambda sums, w: error[float(w)] * len(sums))


def test_the_best_way_is_done_again_with_all_samples_from_where_it_was() -> None:
    calls: list[tuple[Sums, float | None]] = []

    def second(sums: Sums, start: float | None) -> float:
        calls.append((sums, start))
        return 5.0 if start is None else 6.0

    kept = judged({3.0: 0.5, 5.0: 0.25}).choose([lambda sums, _: 3.0, second], np.asarray)
    assert (kept.way, kept.made, kept.errors) == (1, 6.0, (0.5, 0.25))
    assert calls == [([1.0], None), ([1.0, 2.0], 5.0)]


@pytest.mark.parametrize(("first", "other"), [(0.5, 0.5), (0.5, np.nan), (0.4, np.inf)])
def test_of_equals_and_of_what_is_no_number_the_first_stays(first: float, other: float) -> None:
    errors = {3.0: first, 5.0: other}
    assert judged(errors).choose([lambda sums, _: 3.0, lambda sums, _: 5.0], np.asarray).way == 0
    assert judged({3.0: np.nan, 5.0: 1.0}).choose([lambda s, _: 3.0, lambda s, _: 5.0], np.asarray).way == 1


def test_all_samples_judge_where_that_is_asked_for() -> None:
    kept = judged({3.0: 0.5, 5.0: 0.25}).choose_by_all([lambda sums, _: 3.0, lambda sums, _: 5.0], np.asarray)
    assert (kept.way, kept.made, kept.errors) == (1, 5.0, (1.0, 0.5))


@pytest.mark.parametrize("count", [1, 2, 9, 24])
def test_the_judging_samples_are_those_that_no_layer_is_fitted_to(count: int) -> None:
    samples = data.synthetic(block().signature.inputs, {}, count, 0)
    shuffled = samples.skip(0).take(count)
    rows = [sample.rows for sample in Judging(shuffled)]
    wanted = [s.rows for n, s in enumerate(shuffled) if count == 1 or judges(n, count)]
    assert rows == wanted and len(Judging(shuffled)) == len(rows)


def block() -> ir.Model:
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (6, 3, 3, 3), bias=True, name="one"))
    return ir.from_bytes(net.model(net.conv(x, (6, 6, 1, 1), bias=True, name="two")).SerializeToString())


@pytest.mark.parametrize(("count", "warned"), [(1, 1), (16, 0)])
def test_a_walk_says_in_one_sentence_what_nothing_could_judge(count: int, warned: int) -> None:
    model = block()
    samples = data.synthetic(model.signature.inputs, {}, count, 0)
    ctx = Context(Inputs(model, calibration=samples))
    fit = LayerwiseFit("prune", model.copy(), model, samples, ctx)
    nodes = [node for node in model.graph.nodes if node.op == "Conv"]
    for node, cut, then in fit.walk(nodes, nodes):
        regression = LayerRegression.of(node, cut)
        assert isinstance(regression, LayerRegression)
        regression, sums = fit.sums(regression, cut, then, node.name)
        if sums.judged.count:
            assert sums.fitted.count == 7 * sums.judged.count
    assert sum("one calibration sample" in text for text in ctx.warnings) == warned == len(ctx.warnings)
