"""What lowrank offers: each move saves and costs what it says once carried out, beside other passes too."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from graphopt import cost, data, ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.lowrank import LowRank
from graphopt.passes.prune import Prune
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Effect, Move
from graphopt.pipeline.run.budget_planner import shares_budget
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.consumption import Consumption
from graphopt.runtime import Session

MODELS = Path(__file__).parents[3] / "models"
PLAIN = LowRank(refit=False, round_to=2)


@pytest.fixture(scope="module")
def offered() -> tuple[ir.Model, Context, Offer]:
    model = ir.load(MODELS / "fashion_residual.onnx")
    samples = data.load(f"{MODELS / 'fashion_samples.npz'}#calibration::24", model.signature.inputs)
    ctx = Context(Inputs(model, calibration=samples))
    Clean().run(model, ctx)
    FoldBN(lone=True).run(model, ctx)
    offer = PLAIN.offer(model, ctx, "macs")
    assert offer is not None
    return model, ctx, offer


def by_item(offer: Offer) -> dict[str, list[Move]]:
    return {name: list(moves) for name, moves in groupby(offer.moves, lambda move: move.item)}


def carried_out(model: ir.Model, offer: Offer, move: Move, ctx: Context) -> ir.Model:
    changed = model.copy()
    plan = offer.plan(changed, [move], ctx)
    assert len(plan.items) == 1
    PLAIN.apply(changed, plan, ctx)
    return changed


@pytest.mark.parametrize("saves", ["macs", "params"])
def test_effects_count_what_is_left_when_a_move_is_carried_out(
    offered: tuple[ir.Model, Context, Offer], saves: str
) -> None:
    """As ``cost`` counts the file, which knows nothing of ways and ranks."""
    model, ctx, _ = offered
    offer = PLAIN.offer(model, ctx, saves)
    assert offer is not None
    use = Consumption.measured(saves, model, ctx, ())
    counted = "macs" if saves == "macs" else "parameters"
    before = getattr(cost.measure(model, ctx.shapes), counted)
    items = list(by_item(offer).values())
    assert len(items) >= 3
    for moves in items[:3]:
        for move in (moves[0], moves[-1]):
            after = getattr(cost.measure(carried_out(model, offer, move, ctx), ctx.shapes), counted)
            assert use.saved(move.effects) == pytest.approx(before - after, rel=1e-6)


def test_the_degradation_is_what_the_layer_loses_on_the_samples(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    """Against the noise in the tensor that a layer goes into, seen by running both files."""
    model, ctx, offer = offered
    for moves in list(by_item(offer).values())[:4]:
        move = moves[len(moves) // 2]
        changed = carried_out(model, offer, move, ctx)
        goes = _sum_behind(model, move.item)
        exact, reached = _run(model, [move.item, goes], ctx)
        noise = _run(changed, [move.item], ctx)[0] - exact
        channels = (0, *range(2, reached.ndim))
        share = np.square(noise).mean() / reached.var(axis=channels).mean()
        assert 0.8 < move.degradation / share < 1.25


def _run(model: ir.Model, names: list[str], ctx: Context) -> list[np.ndarray]:
    """Tensors for all samples, stacked."""
    session = Session(model, outputs=list(dict.fromkeys(names)))
    every = [session.run(sample.feeds) for sample in ctx.calibration]
    return [np.concatenate([one[name] for one in every]).astype(np.float64) for name in names]


def _sum_behind(model: ir.Model, name: str) -> str:
    """The residual sum that a tensor goes into at once, or the tensor itself."""
    (tensor,) = (t for node in model.graph.nodes for t in node.outputs if t.name == name)
    readers = tensor.consumers
    return str(readers[0].output.name) if len(readers) == 1 and readers[0].op == "Add" else name


def test_what_is_left_falls_and_costs_more_and_no_two_moves_share_a_level(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    """Trials are kept by item and level."""
    for moves in by_item(offered[2]).values():
        for wider, narrower in pairwise(moves):
            assert 0 < narrower.level < wider.level < 1
            assert narrower.degradation > wider.degradation


def test_a_goal_of_its_own_keeps_it_out_of_the_budget(offered: tuple[ir.Model, Context, Offer]) -> None:
    model, ctx, _ = offered
    assert shares_budget(LowRank())
    for own in (LowRank(macs=0.5), LowRank(energy=0.9), LowRank(max_drop=1.0)):
        assert not shares_budget(own)
        assert own.offer(model, ctx, "macs") is None
    assert LowRank().offer(model, Context(Inputs(model)), "macs") is None  # nothing to price moves by


def test_moves_are_carried_out_in_what_prune_made_narrower(offered: tuple[ir.Model, Context, Offer]) -> None:
    """The same share of the layer that is left, and never more than it takes whole."""
    model, ctx, offer = offered
    narrow = model.copy()
    Prune(macs=0.7, repair=False, round_to=2).run(narrow, ctx)
    taken = [moves[-1] for moves in by_item(offer).values()]
    items = {item["tensor"]: item for item in offer.plan(narrow, taken, ctx).items}
    assert items
    for move in taken:
        if (item := items.get(move.item)) is not None:
            whole, left = item["macs"]
            assert left < whole
            assert left / whole == pytest.approx(move.level, abs=0.25)
    PLAIN.apply(narrow, offer.plan(narrow, taken, ctx), ctx)
    Session(narrow).run(next(iter(ctx.calibration)).feeds)


def test_the_parts_of_a_layer_that_stays_float_stay_float_and_others_are_stored(
    offered: tuple[ir.Model, Context, Offer],
) -> None:
    model, ctx, offer = offered
    quant = Quant(measure=False, equalise="none", rounding="nearest", keep_noisy_float=False)
    stored = quant.offer(model, ctx, "latency")
    assert stored is not None
    floating, other = list(by_item(offer).values())[:2]
    changed = model.copy()
    PLAIN.apply(changed, offer.plan(changed, [floating[0], other[0]], ctx), ctx)
    taken = [move for move in stored.moves if move.item != floating[0].item]
    plan = stored.plan(changed, taken, ctx)
    nodes = {str(item["node"]) for item in plan.items if "node" in item}
    parts = {
        item: {node.output.name for node in _chain(changed, item)}
        for item in (floating[0].item, other[0].item)
    }
    assert all(len(names) > 1 for names in parts.values())
    assert not parts[floating[0].item] & nodes
    assert parts[other[0].item] <= nodes


def _chain(model: ir.Model, last: str) -> list[ir.Node]:
    """The layers that a split layer became, from the last backwards."""
    (node,) = (node for node in model.graph.nodes if node.outputs and node.output.name == last)
    stem, _, _ = node.name.rpartition(".")
    return [one for one in model.graph.nodes if one.name.rpartition(".")[0] == stem]


def test_in_8_bits_the_share_of_integers_counts() -> None:
    """A layer split and stored: times of thin layers shrink less on integers."""
    model = ir.load(MODELS / "fashion_residual.onnx")
    ctx = Context(Inputs(model))
    use = Consumption.measured("bytes", model, ctx, ())
    name = next(iter(use.layers))
    split, stored = Effect(name, share=0.5, integer_share=0.75), Effect(name, kernel="int8")
    whole = use.layers[name].takes("bytes", use.layers[name].whole)
    assert use.saved([split]) == pytest.approx(0.5 * whole)
    assert use.saved([split, stored]) == use.saved([stored, split]) == pytest.approx((1 - 0.75 / 4) * whole)
