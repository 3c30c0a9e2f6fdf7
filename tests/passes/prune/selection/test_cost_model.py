"""What widths take up is predicted exactly, and goals are met without waste."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt import cost, data, ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.coupling.groups import find_cells
from graphopt.passes.prune.importance.criteria import scores
from graphopt.passes.prune.importance.criteria.filters import l2
from graphopt.passes.prune.importance.ranking import keep_of, score_rankings
from graphopt.passes.prune.selection.cost_model import CostModel
from graphopt.passes.prune.selection.predict import Predictor
from tests.corpus import random_cnn
from tests.corpus._net import Net
from tests.passes.prune.oracle import context, copy, load, prune

MODELS = Path(__file__).parents[4] / "models"


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("goal", ["macs", "params", "bytes"])
def test_usage_is_what_the_exact_count_says(seed: int, goal: str) -> None:
    model = load(random_cnn(seed))
    coupling = couple(model, gather_facts(model, context(model)))
    cells = find_cells(coupling, 1)
    if not cells:
        pytest.skip("nothing can be removed here")
    rankings = score_rankings(cells, scores(l2(coupling), len(coupling.classes), "mean", "mean"))
    predictor = Predictor(model, coupling)
    total = getattr(predictor.size(coupling.keep_all()), goal)
    usage = CostModel(coupling, cells, goal, total)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        widths = np.array([rng.integers(1, len(cell.classes) + 1) for cell in cells])
        exact = getattr(predictor.size(keep_of(coupling, rankings, widths)), goal) / total
        assert usage.of(widths) == pytest.approx(exact, abs=1e-9)
        number = int(rng.integers(len(cells)))
        candidates = np.arange(len(cells[number].classes), 0, -1)
        moved = [np.where(np.arange(len(cells)) == number, width, widths) for width in candidates]
        np.testing.assert_allclose(
            usage.along(widths, number, candidates), [usage.of(one) for one in moved], atol=1e-12
        )


@pytest.mark.parametrize("importance", ["l2", "obs"])
@pytest.mark.parametrize("fraction", [0.8, 0.7, 0.5])
def test_narrow_networks_do_not_lose_far_more_than_asked(importance: str, fraction: float) -> None:
    """Widths of 32 to 96 in blocks of 16: every step is large, so what is left over is given back."""
    model = ir.load(MODELS / "fashion_residual.onnx")
    Clean().run(model, context(model))
    FoldBN(lone=True).run(model, context(model))
    samples = data.synthetic(model.signature.inputs, dict(context(model).shapes), 64, 0)
    step = Prune(macs=fraction, round_to=16, importance=importance, repair=False)
    pruned = prune(model, step, calibration=samples)
    left = cost.measure(pruned.after, dict(pruned.ctx.shapes)).macs
    left /= cost.measure(pruned.before, dict(pruned.ctx.shapes)).macs
    assert fraction - 0.07 < left <= fraction
    assert copy(pruned.after).signature == model.signature


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_goal_without_anything_to_remove_is_missed(calibrated: bool) -> None:
    net = Net()
    model = load(net.model(net.conv(net.input(), (4, 3, 1, 1), name="only")))
    samples = data.synthetic(model.signature.inputs, dict(context(model).shapes), 8, 0)
    ctx = context(model, calibration=samples) if calibrated else context(model)
    Prune(macs=0.5).run(model, ctx)
    assert len(ctx.missed) == 1 and "at best" in ctx.missed[0]
    assert not ctx.changes
