"""One budget over the passes of a run, on a pass of a third party whose damage is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.errors import UsageError
from graphopt.pipeline import Context, Plan, PlannedPass, option
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.contract.moves import Move, Saving
from graphopt.pipeline.run.budget_planner import BudgetPlanner, goals_of
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.manager import Manager, Outcome
from graphopt.pipeline.search.budget import Goals
from graphopt.pipeline.spec.arrange import PipelineEntry
from graphopt.pipeline.spec.spec import PassSpec

LEVELS = (8, 6, 5, 4, 3, 2)


@dataclass(frozen=True)
class Coarse(PlannedPass):
    """Round the weights of a layer to so many bits; each bit saves a 64th of the parameters for a layer."""

    name: ClassVar[str] = "coarse"
    careful: ClassVar[bool] = True
    bits: int | None = option(None, "bits of every layer")
    applied: ClassVar[list[int]] = []
    on_apply: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    @property
    def has_goal(self) -> bool:
        return self.bits is not None

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        return Plan(tuple({"tensor": node.output.name, "bits": self.bits} for node in _layers(model)))

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        self.applied.append(len(plan.items))
        self.on_apply()
        by_name = {str(item["tensor"]): int(item["bits"]) for item in plan.items}
        for node in _layers(model):
            if node.output.name in by_name:
                weight = np.asarray(node.inputs[1].constant)
                step = np.abs(weight).max() / 2 ** (by_name[node.output.name] - 1)
                rounded = (np.rint(weight / step) * step).astype(np.float32)
                model.graph.set_constant(node, 1, rounded)
                ctx.changed(node, "rounded")

    def offer(self, model: ir.Model, ctx: Context, saves: str) -> Offer:
        moves = [
            Move(
                node.output.name,
                "layer",
                bits / 32,
                4.0**-bits,
                saving=Saving(params=(9 - bits) / 64),
            )
            for node in _layers(model)
            for bits in LEVELS
        ]

        def plan(now: ir.Model, taken: Sequence[Move], now_ctx: Context) -> Plan:
            return Plan(tuple({"tensor": move.item, "bits": round(32 * move.level)} for move in taken))

        return Offer(tuple(moves), plan)


def _layers(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph.nodes if node.op in ("Conv", "Gemm")]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    Coarse.applied.clear()
    yield
    Coarse.on_apply = staticmethod(lambda: None)


@pytest.fixture
def go(fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the pass under goals; what is left of the parameters is what the moves say."""
    from graphopt.pipeline.search import trials

    def left(self: Any, model: ir.Model) -> float:
        return 1.0 - sum((9 - b) / 64 for b in _bits(model))

    monkeypatch.setattr(trials.Trials, "left", left)

    def run(
        goals: Goals, samples: int = 64, cache: Path | None = None, deadline: float | None = None
    ) -> tuple[Outcome, BudgetPlanner, ir.Model]:
        model = ir.from_bytes(fakes.build().SerializeToString())
        given = data.synthetic(model.signature.inputs, {}, samples, 0)
        stages = [PipelineEntry(Coarse(), PassSpec("coarse"))]
        budget = BudgetPlanner(stages, goals, deadline)
        settings = RunSettings(cache=cache)
        outcome = Manager(stages, Inputs(model, calibration=given), settings, budget=budget).run(model)
        return outcome, budget, model

    return run


def _bits(model: ir.Model) -> list[int]:
    """Of each layer: the bits that hold its weights; 9 for what was not rounded."""
    found = []
    for node in _layers(model):
        weight = np.asarray(node.inputs[1].constant, np.float64)
        for bits in sorted(LEVELS):
            step = np.abs(weight).max() / 2 ** (bits - 1)
            if np.allclose(weight, np.rint(weight / step) * step, atol=1e-7):
                found.append(bits)
                break
        else:
            found.append(9)
    return found


def test_the_loss_stays_within_the_limit_and_more_of_it_saves_more(go: Any) -> None:
    """Judged again here, on the samples that judged: the bound is what the promise is about."""
    saved = []
    for limit in (0.3, 3.0, 30.0):
        _, budget, _ = go(Goals("params", limit))
        chosen = [trial for trial in budget.settled.record.trials if trial.chosen]
        assert all(trial.upper <= limit for trial in chosen)
        saved.append(min((trial.left for trial in chosen), default=1.0))
    assert saved[0] >= saved[1] >= saved[2]
    assert saved[2] < saved[0]


def test_a_goal_is_reached_at_the_least_loss(go: Any) -> None:
    outcome, budget, model = go(Goals("params", None, 0.85))
    assert 0.75 < 1.0 - sum((9 - b) / 64 for b in _bits(model)) <= 0.85
    assert not outcome.missed
    assert budget.settled.record.goal == 0.85


def test_a_goal_out_of_reach_says_how_far_it_gets(go: Any) -> None:
    outcome, _, model = go(Goals("params", None, 0.1))
    (missed,) = outcome.missed
    assert "params=0.1 is out of reach: with every move taken 0.781 is left" in missed
    assert _bits(model) == [2, 2]  # the file is as near as it gets


def test_two_goals_that_contradict_keep_the_limit(go: Any) -> None:
    outcome, _, _ = go(Goals("params", 0.5, 0.79))
    (missed,) = outcome.missed
    assert "params=0.79 would cost" in missed
    assert "where 0.5 may be lost" in missed


def test_an_interrupted_search_ends_in_a_result(go: Any) -> None:
    def interrupt() -> None:
        if len(Coarse.applied) == 1:
            raise KeyboardInterrupt

    Coarse.on_apply = staticmethod(interrupt)
    _, budget, model = go(Goals("params", 30.0))
    assert _bits(model) == [9, 9]
    assert budget.settled.record.said == (
        "the search was interrupted: no trial was good enough by then, so coarse changed nothing",
    )


def test_no_time_for_a_trial_leaves_the_model_as_it_is(go: Any) -> None:
    outcome, budget, model = go(Goals("params", 3.0), deadline=time.monotonic() - 1)
    assert _bits(model) == [9, 9]
    assert "no trial was good enough by then, so coarse changed nothing" in budget.settled.record.said[0]
    assert not outcome.missed


def test_a_search_goes_on_from_what_was_tried(go: Any, tmp_path: Path) -> None:
    _, first, _ = go(Goals("params", 3.0), cache=tmp_path)
    tried = len(Coarse.applied)
    _, again, _ = go(Goals("params", 3.0), cache=tmp_path)
    assert len(Coarse.applied) == tried + 1  # the result alone
    assert first.settled.record == again.settled.record
    next(tmp_path.glob("trials-*.json")).write_text("{")
    _, third, _ = go(Goals("params", 3.0), cache=tmp_path)
    assert third.settled.record == first.settled.record


def test_with_a_goal_of_its_own_a_pass_keeps_it(fakes: SimpleNamespace) -> None:
    stages = [PipelineEntry(Coarse(bits=4), PassSpec("coarse"))]
    given: dict[str, Any] = {"saves": "params", "samples": 64, "careful": 1.0}
    assert goals_of(stages, max_drop=1.0, amount=None, **given) is None
    with pytest.raises(UsageError, match="none is without a goal of its own"):
        goals_of(stages, max_drop=None, amount=0.5, **given)


@pytest.mark.parametrize(
    ("samples", "max_drop", "amount", "expected"),
    [
        (64, None, None, Goals("params", 1.0)),  # careful: one point in all
        (None, None, None, None),  # synthetic samples judge nothing
        (3, None, None, None),
        (64, 2.0, 0.5, Goals("params", 2.0, 0.5)),
        (None, None, 0.5, Goals("params", None, 0.5)),
        (None, 2.0, 0.5, Goals("params", None, 0.5)),  # the evaluation samples judge in the end
    ],
)
def test_what_the_passes_of_a_run_share(
    samples: int | None, max_drop: float | None, amount: float | None, expected: Goals | None
) -> None:
    stages = [PipelineEntry(Coarse(), PassSpec("coarse"))]
    found = goals_of(stages, saves="params", max_drop=max_drop, amount=amount, samples=samples, careful=1.0)
    assert found == (None if expected is None else replace(expected))


def test_one_sample_cannot_judge() -> None:
    stages = [PipelineEntry(Coarse(), PassSpec("coarse"))]
    with pytest.raises(UsageError, match="of 1 calibration sample half would be fitted to"):
        goals_of(stages, saves="params", max_drop=1.0, amount=None, samples=1, careful=1.0)
