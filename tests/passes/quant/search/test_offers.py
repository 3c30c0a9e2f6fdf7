"""What quant offers: each layer in 8 bits, with its noise foreseen, and planned as it was taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session

MODELS = Path(__file__).parents[4] / "models"
PLAIN = Quant(measure=False, equalise="none", absorb=False, rounding="nearest", keep_noisy_float=False)


@pytest.fixture(scope="module")
def offered() -> tuple[ir.Model, Context, Offer]:
    model = ir.load(MODELS / "fashion_residual.onnx")
    samples = data.load(f"{MODELS / 'fashion_samples.npz'}#calibration::16", model.signature.inputs)
    ctx = Context(Inputs(model, calibration=samples))
    Clean().run(model, ctx)
    FoldBN(lone=True).run(model, ctx)
    offer = PLAIN.offer(model, ctx, "latency")
    assert offer is not None
    return model, ctx, offer


def test_the_noise_of_a_layer_is_predicted_within_a_factor(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    """Against the layer's own output with that layer alone stored."""
    model, ctx, offer = offered
    ratios = []
    for move in offer.moves:
        changed = model.copy()
        plan = offer.plan(changed, [move], ctx)
        PLAIN.apply(changed, plan, ctx)
        makers = [node.output.name for node in changed.graph.nodes if node.outputs]
        assert move.item in makers
        before, after = Session(model, outputs=[move.item]), Session(changed, outputs=[move.item])
        feeds = [sample.feeds for sample in ctx.calibration.take(8)]
        exact = np.concatenate([before.run(feed)[move.item] for feed in feeds]).astype(np.float64)
        noise = np.concatenate([after.run(feed)[move.item] for feed in feeds]) - exact
        channels = (0, *range(2, exact.ndim))
        ratios.append(move.degradation / (np.square(noise).mean() / exact.var(axis=channels).mean()))
    assert 0.3 < float(np.exp(np.mean(np.log(ratios)))) < 3.0
    assert max(ratios) < 6.0
    assert min(ratios) > 0.1


def test_what_is_not_taken_stays_float(offered: tuple[ir.Model, Context, Offer]) -> None:
    model, ctx, offer = offered
    taken = offer.moves[1:]
    items = offer.plan(model.copy(), taken, ctx).items
    stored = {item["node"] for item in items if item.get("kind") == "weight" or "weight" in item}
    assert offer.moves[0].item not in stored
    assert {move.item for move in taken} <= stored
    assert offer.plan(model.copy(), [], ctx).items == ()


def test_with_a_goal_of_its_own_it_offers_nothing(offered: tuple[ir.Model, Context, Offer]) -> None:
    model, ctx, _ = offered
    for quant in (Quant(max_drop=1.0), Quant(mode="dynamic")):
        assert quant.offer(model, ctx, "latency") is None
