"""The latency goal, with clocks that tell what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import pytest

from graphopt import cost, ir
from graphopt.cost import LayerShape
from graphopt.passes.lowrank import LowRank
from graphopt.passes.lowrank.ranks import latency
from tests.passes.lowrank.nets import calibrated, context
from tests.passes.lowrank.test_lowrank import SMALL, residual, run

Clock = Callable[[LayerShape], float]


class Table:
    """Layers take what ``clock`` says."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[LayerShape] = []

    def milliseconds(self, layers: Sequence[LayerShape]) -> np.ndarray:
        self.asked += layers
        return np.array([self.clock(layer) for layer in layers])


def arithmetic(layer: LayerShape) -> float:
    """Time by multiply-accumulates alone; every layer here keeps the size of its input."""
    return 1e-4 * prod(layer.input[2:]) * prod(layer.weight)


def rig(monkeypatch: pytest.MonkeyPatch, clock: Clock, rest: float = 0.0) -> tuple[Table, list[float]]:
    """Let the table follow ``clock``, and whole networks their MACs and a share ``rest`` that stays."""
    table, measured = Table(clock), list[float]()

    def times(model: ir.Model, trial: ir.Model, ctx: object) -> float:
        measured.append(rest + (1 - rest) * left(model, trial))
        return measured[-1]

    monkeypatch.setattr(latency.LatencyTable, "open", lambda *_, **__: table)
    monkeypatch.setattr(latency, "relative_time", times)
    return table, measured


def left(before: ir.Model, after: ir.Model) -> float:
    return (cost.measure(after).macs or 0) / (cost.measure(before).macs or 1)


def test_a_goal_in_time_is_met_and_not_overshot(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual()
    table, measured = rig(monkeypatch, arithmetic)
    after, ctx, plan = run(model, LowRank(latency=0.7, **SMALL), context(model))
    assert 0.6 < left(model, after) <= 0.7 * (1 + latency.CLOSE)
    assert not ctx.missed and "measured 0.6" in plan.items[0]["rule"]
    assert len(measured) <= latency.TRIES
    known = {layer.weight for layer in table.asked}
    assert (24, 24, 3, 3) in known and (
        24,
        24,
        3,
        1,
    ) not in known  # a candidate is never as wide as the layer


def test_when_the_parts_mislead_the_plan_is_backed_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the time is not in the layers, so more has to go than their times promise."""
    model = residual()
    _, measured = rig(monkeypatch, arithmetic, rest=0.2)
    after, ctx, _ = run(model, LowRank(latency=0.75, **SMALL), context(model))
    assert measured[0] > 0.75 * (1 + latency.CLOSE)  # the first plan lied
    assert 0.2 + 0.8 * left(model, after) <= 0.75 * (1 + latency.CLOSE)
    assert not ctx.missed


@pytest.mark.parametrize("slower", [0.01, 20.0])
def test_only_ratios_of_times_count(monkeypatch: pytest.MonkeyPatch, slower: float) -> None:
    """Other work on the machine may slow the network or the single layers more."""
    model = residual()
    rig(monkeypatch, lambda layer: slower * arithmetic(layer))
    after, ctx, _ = run(model, LowRank(latency=0.7, **SMALL), context(model))
    assert 0.6 < left(model, after) <= 0.7 * (1 + latency.CLOSE) and not ctx.missed


def test_what_is_not_a_tenth_faster_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual()
    rig(monkeypatch, lambda layer: 1.0)  # two layers take twice as long as one
    after, ctx, plan = run(model, LowRank(latency=0.7, **SMALL), context(model))
    assert not plan.items and after.to_bytes() == ir.from_bytes(model.to_bytes()).to_bytes()
    assert "lowrank can leave 1 of the latency at best, 0.7 was asked for" in ctx.missed[0]


def test_a_goal_out_of_reach_says_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual()
    rig(monkeypatch, arithmetic)
    after, ctx, _ = run(model, LowRank(latency=0.05, **SMALL), context(model))
    assert ctx.missed and "0.05 was asked for" in ctx.missed[0]
    assert left(model, after) < 0.5


def test_trial_weights_keep_numbers_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are timed with random weights: denormals or infinities would be timed wrongly."""
    model = residual()
    seen: list[ir.Model] = []

    def times(model: ir.Model, trial: ir.Model, ctx: object) -> float:
        seen.append(trial)
        return 0.7

    rig(monkeypatch, arithmetic)
    monkeypatch.setattr(latency, "relative_time", times)
    run(model, LowRank(latency=0.7, **SMALL), calibrated(model, 8))
    for node in seen[0].graph.find("Conv"):
        values = node.inputs[1].constant
        assert 0.05 < np.std(values) * np.sqrt(np.prod(values.shape[1:])) < 5
