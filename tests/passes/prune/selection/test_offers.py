"""What prune offers: each move saves what it says once it is carried out, and costs more the more goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt import cost, data, ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.consumption import Consumption

MODELS = Path(__file__).parents[4] / "models"


@pytest.fixture(scope="module")
def offered() -> tuple[ir.Model, Context, Offer]:
    model = ir.load(MODELS / "fashion_residual.onnx")
    samples = data.load(f"{MODELS / 'fashion_samples.npz'}#calibration::24", model.signature.inputs)
    ctx = Context(Inputs(model, calibration=samples))
    Clean().run(model, ctx)
    FoldBN(lone=True).run(model, ctx)
    offer = Prune().offer(model, ctx, "macs")
    assert offer is not None
    return model, ctx, offer


def by_item(offer: Offer) -> dict[str, list[Move]]:
    items: dict[str, list[Move]] = {}
    for move in offer.moves:
        items.setdefault(move.item, []).append(move)
    return items


def test_effects_count_what_is_left_when_a_move_is_carried_out(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    """Layers that read and layers that make: MACs and parameters as cost counts them."""
    model, ctx, offer = offered
    before = cost.measure(model, ctx.shapes)
    untouched = model.copy()
    Prune(repair=False).apply(untouched, offer.plan(untouched, [], ctx), ctx)
    assert cost.measure(untouched, ctx.shapes) == before  # there are no dead channels, which go in any case
    for moves in list(by_item(offer).values())[:4]:
        move = moves[len(moves) // 2]
        changed = model.copy()
        Prune(repair=False).apply(changed, offer.plan(changed, [move], ctx), ctx)
        after = cost.measure(changed, ctx.shapes)
        use = Consumption.measured("macs", model, ctx, ())
        assert use.saved(move.effects) == pytest.approx(before.macs - after.macs, rel=1e-6)
        weights = Consumption.measured("params", model, ctx, ())
        biases = sum(effect.outputs for effect in move.effects)
        assert weights.saved(move.effects) + biases == pytest.approx(before.parameters - after.parameters)


def test_narrower_costs_more(offered: tuple[ir.Model, Context, Offer]) -> None:
    for moves in by_item(offered[2]).values():
        assert [move.level for move in moves] == sorted((move.level for move in moves), reverse=True)
        assert np.all(np.diff([move.degradation for move in moves]) >= 0)
        assert all(0 < move.level < 1 for move in moves)


def test_where_time_counts_whole_blocks_are_offered(offered: tuple[ir.Model, Context, Offer]) -> None:
    model, ctx, _ = offered
    blocks = Prune(round_to=None).offer(model, ctx, "latency")
    fine = Prune().offer(model, ctx, "macs")
    own = Prune(round_to=8).offer(model, ctx, "macs")
    assert blocks is not None and fine is not None and own is not None
    assert len(blocks.moves) <= len(own.moves) < len(fine.moves)


def test_with_a_goal_of_its_own_it_offers_nothing(offered: tuple[ir.Model, Context, Offer]) -> None:
    model, ctx, _ = offered
    for prune in (Prune(macs=0.5), Prune(max_drop=1.0)):
        assert prune.has_goal
        assert prune.offer(model, ctx, "macs") is None
    assert Prune(importance="l2").offer(model, ctx, "macs") is None  # scores do not add up to noise


def test_a_choice_is_translated_when_another_pass_went_before(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    """The groups are found by name in a model that is another one by then."""
    model, ctx, offer = offered
    move = next(iter(by_item(offer).values()))[-1]
    changed = model.copy()
    conv = next(iter(changed.graph.find("Conv")))
    changed.graph.set_constant(conv, 1, np.asarray(conv.inputs[1].constant) * np.float32(1.001))
    plan = offer.plan(changed, [move], ctx)
    (item,) = [item for item in plan.items if item["remove"]]
    assert item["group"] == move.item
    assert item["left"] == round(move.level * item["channels"])
