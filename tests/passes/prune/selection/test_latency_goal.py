"""A goal in measured time, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphopt import cost, ir
from graphopt.cost import LayerShape
from graphopt.passes.prune import Prune
from graphopt.passes.prune.selection import latency_goal
from tests.passes.prune.oracle import Pruned, prune
from tests.passes.prune.test_goals import chained, widths

BLOCK = 8


def milliseconds(layer: LayerShape) -> float:
    """Whole blocks of channels count, as with blocked kernels."""
    blocks = -(-layer.inputs // BLOCK) * -(-layer.outputs // BLOCK)
    return 0.01 * blocks * float(np.prod(layer.input[2:]))


class Table:
    """Stands in for measured layers."""

    def milliseconds(self, layers: Sequence[LayerShape]) -> np.ndarray:
        return np.array([milliseconds(layer) for layer in layers])


def time_of(model: ir.Model, rest: float) -> float:
    shapes = ir.infer_shapes(model)
    layers = [LayerShape.of(node, shapes) for node in model.graph.find("Conv", "Gemm")]
    return rest + sum(milliseconds(layer) for layer in layers if layer is not None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine on which ``rest`` milliseconds go into what is no layer, and ``drag`` slows narrow nets."""
    setting = SimpleNamespace(rest=1.0, drag=0.0, measured=[])

    def paired(a: Any, b: Any, feeds: Any, *, seconds: float) -> SimpleNamespace:
        ratio = (time_of(b, setting.rest) + setting.drag) / time_of(a, setting.rest)
        setting.measured.append(ratio)
        return SimpleNamespace(ratio=ratio)

    monkeypatch.setattr("graphopt.pipeline.search.relative_time.paired_latency", paired)
    monkeypatch.setattr("graphopt.targets.Target.block", lambda self, isa: BLOCK)
    monkeypatch.setattr(latency_goal.LatencyTable, "open", lambda *args, **kwargs: Table())
    monkeypatch.setattr("graphopt.pipeline.Context.session", lambda self, model, **options: model)
    return setting


def pruned(goal: float, round_to: int = BLOCK) -> Pruned:
    step = Prune(latency=goal, round_to=round_to, importance="l2", repair=False)
    return prune(chained(64, 64, 48, 64), step)


@pytest.mark.parametrize("goal", [0.8, 0.7, 0.5])
def test_the_goal_is_met_as_measured(clock: SimpleNamespace, goal: float) -> None:
    found = pruned(goal)
    ratio = time_of(found.after, clock.rest) / time_of(found.before, clock.rest)
    assert goal * 0.93 <= ratio <= goal * 1.03
    assert not found.ctx.missed and "as measured" in found.ctx.summary


def test_what_layers_do_not_foretell_is_made_up_for(clock: SimpleNamespace) -> None:
    """Every pruned network takes 6 ms longer than its layers say: the budget has to shrink."""
    clock.drag = 6.0
    pruned(0.7)
    assert len(clock.measured) > 1
    assert 0.7 * 0.93 <= clock.measured[-1] <= 0.7 * 1.03 or min(clock.measured) <= 0.7 * 1.03


def test_never_slower_and_never_silent(clock: SimpleNamespace) -> None:
    clock.drag = 1000.0
    found = pruned(0.7)
    assert widths(found.after) == widths(found.before)
    assert "1 of the latency at best" in found.ctx.missed[0]


def test_no_channel_goes_that_buys_no_time(clock: SimpleNamespace) -> None:
    """Counts between two blocks take as long as the block above, so none is chosen."""
    found = pruned(0.7, round_to=1)
    assert all(width % BLOCK == 0 for name, width in widths(found.after).items() if name != "fc")


def test_macs_are_not_time(clock: SimpleNamespace) -> None:
    found = pruned(0.7)
    before, after = cost.measure(found.before), cost.measure(found.after)
    assert (after.macs or 0) < (before.macs or 0)
