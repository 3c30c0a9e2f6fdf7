"""Plans the passes of a run that share its budget: the first whose turn comes starts the search for all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Offer, Pass, Plan, PlannedPass
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.search.budget import BudgetSearch, Goals, Settled
from graphopt.pipeline.search.consumption import Consumption
from graphopt.pipeline.search.degradation import Degradation, held_out, trial_samples
from graphopt.pipeline.search.market import Market, kernels_of
from graphopt.pipeline.search.trials import Part, Trials, TrialStore
from graphopt.pipeline.spec.arrange import PipelineEntry, as_step

if TYPE_CHECKING:
    from graphopt.ir import Model

FEWEST = 4  # noise: calibration samples; half of them judge, and a single one would judge by one answer


class BudgetPlanner:
    """Settles once, on the model as it stands before the first pass that shares the budget."""

    def __init__(self, stages: Sequence[PipelineEntry], goals: Goals, deadline: float | None = None) -> None:
        self._stages, self._goals, self._deadline = stages, goals, deadline
        self._sharing = [index for index, stage in enumerate(stages) if shares_budget(stage.step)]
        self._taken: dict[int, tuple[Offer, tuple[Move, ...]]] = {}
        self.settled: Settled | None = None
        self.is_done = False

    def plan(self, index: int, model: Model, ctx: Context) -> Plan | None:
        """The plan of the pass at ``index``; None for one that has to plan for itself."""
        if index not in self._sharing:
            return None
        if not self.is_done:
            self.is_done = True
            self._settle(index, model, ctx)
        if index not in self._taken:
            return None
        offer, moves = self._taken[index]
        return offer.plan(model, moves, ctx)

    def _settle(self, first: int, model: Model, ctx: Context) -> None:
        goals = self._goals
        trial = self._fitting(ctx)
        parts = [
            Part(stage.step, self._offer(stage.step, model, trial))
            for stage in self._stages[first:]
            if not stage.step.too_long_for_trials
        ]
        offers = [part.offer for part in parts if part.offer is not None]
        if not offers:
            return
        names = [part.step.name for part in parts if part.offer is not None]
        judge = Degradation(model, ctx, samples=held_out(ctx.calibration))
        use = Consumption.measured(goals.saves, model, ctx, kernels_of(offers))
        market = Market(offers, use)
        about = f"{self._about(model, ctx)} {goals.saves} {[as_step(part.step) for part in parts]}"
        store = TrialStore(ctx.settings.cache, about)
        trials = Trials(model.copy(), parts, trial, judge, goals.saves, store, self._deadline)
        self.settled = BudgetSearch(goals, market, trials, judge, names, self._deadline).search()
        for text in self.settled.missed:
            ctx.goal_missed(text)
        sharing = (index for index in self._sharing if index >= first)
        offering = [index for index in sharing if self._offers_at(index, parts)]
        for owner, (index, offer) in enumerate(zip(offering, offers, strict=True)):
            self._taken[index] = offer, market.taken(self.settled.choice, owner)

    def _offers_at(self, index: int, parts: Sequence[Part]) -> bool:
        step = self._stages[index].step
        return any(part.step is step and part.offer is not None for part in parts)

    def _offer(self, step: Pass, model: Model, ctx: Context) -> Offer | None:
        if not isinstance(step, PlannedPass) or not shares_budget(step):
            return None
        offer = step.offer(model, ctx, self._goals.saves)
        return offer if offer is not None and offer.moves else None

    def _fitting(self, ctx: Context) -> Context:
        """The context of trials: they fit to samples that do not judge."""
        return Context(ctx.inputs.fitting_to(trial_samples(ctx.calibration)), ctx.settings, ctx.target)

    def _about(self, model: Model, ctx: Context) -> str:
        """What trials depend on besides their moves."""
        digest = hashlib.sha256(model.to_bytes())
        for key in ctx.calibration.content_keys():
            digest.update(key.encode())
        return f"{digest.hexdigest()} {ctx.seed} {ctx.target.name} {ctx.settings.judged_by}"


def shares_budget(step: Pass) -> bool:
    """Whether a pass offers moves and leaves it to the run how far it goes."""
    if not isinstance(step, PlannedPass) or step.has_goal:
        return False
    return type(step).offer is not PlannedPass.offer


def goals_of(
    stages: Sequence[PipelineEntry],
    *,
    saves: str,
    max_drop: float | None,
    amount: float | None,
    samples: int | None,
    careful: float,
    risk: bool = False,
) -> Goals | None:
    """What the passes of a run share, None where there is nothing to share.

    ``samples`` are the calibration samples, None for synthetic ones; ``careful`` points may be lost where no
    goal is given.  Raises UsageError for a goal that cannot be reached or judged.
    """
    sharing = [stage.step for stage in stages if shares_budget(stage.step)]
    if amount is not None and not sharing:
        raise UsageError(
            f"--goal {saves}={amount:g} has no pass to reach it: none is without a goal of its own",
            hint="--passes prune,quant, or --passes auto",
        )
    if not sharing:
        return None
    is_careful = any(isinstance(step, PlannedPass) and step.careful for step in sharing)
    if amount is None and max_drop is None:
        if samples is None or samples < FEWEST or not is_careful:
            return None
        return Goals(saves, careful, None, risk)
    if max_drop is not None and samples is not None and samples < FEWEST:
        raise UsageError(
            f"--max-drop cannot be judged: of {samples} calibration sample{'s' if samples != 1 else ''} half "
            "would be fitted to and half judge",
            hint=f"give at least {FEWEST}, better 256",
        )
    if max_drop is not None and samples is None:
        return None if amount is None else Goals(saves, None, amount, risk)
    return Goals(saves, max_drop, amount, risk)
