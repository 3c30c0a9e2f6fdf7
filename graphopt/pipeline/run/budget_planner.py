"""Plans the passes of a run that share its budget: the first whose turn comes starts the search for all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Offer, Pass, Plan, PlannedPass
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.search.budget import BudgetSearch, Goals, Settled
from graphopt.pipeline.search.consumption import Consumption
from graphopt.pipeline.search.degradation import Degradation, held_out, trial_samples
from graphopt.pipeline.search.market import Choice, Market, can_save, kernels_of
from graphopt.pipeline.search.trials import Part, Trials, TrialStore
from graphopt.pipeline.spec.arrange import PipelineEntry, as_step

if TYPE_CHECKING:
    from graphopt.ir import Model

FEWEST = 4  # noise: calibration samples; half of them judge, and a single one would judge by one answer


@dataclass(frozen=True)
class Stakes:
    """The offers of passes by their position, and what judges and prices their moves."""

    offers: Mapping[int, Offer]
    names: tuple[str, ...]
    market: Market
    trials: Trials
    judge: Degradation


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
        """Collect the moves of the passes from ``first`` on, and search among them."""
        stakes = self._stakes(first, model, ctx)
        if stakes is None:
            return
        goals, names = self._goals, stakes.names
        search = BudgetSearch(goals, stakes.market, stakes.trials, stakes.judge, names, self._deadline)
        self.settled = search.search()
        for text in self.settled.missed:
            ctx.goal_missed(text)
        self._take(stakes, self.settled.choice)

    def _take(self, stakes: Stakes, choice: Choice) -> None:
        """From now on plans are those of a choice."""
        for owner, (index, offer) in enumerate(stakes.offers.items()):
            self._taken[index] = offer, stakes.market.taken(choice, owner)

    def _stakes(self, first: int, model: Model, ctx: Context) -> Stakes | None:
        """What a search needs; None where no pass has a move."""
        goals = self._goals
        trial = self._fitting(ctx)
        indices = [
            index
            for index in range(first, len(self._stages))
            if not self._stages[index].step.too_long_for_trials
        ]
        parts = {
            index: Part(step, self._offer(step, model, trial))
            for index in indices
            for step in [self._stages[index].step]
        }
        offers = {index: part.offer for index, part in parts.items() if part.offer is not None}
        if not offers:
            return None
        judge = Degradation(model, ctx, samples=held_out(ctx.calibration))
        use = Consumption.measured(goals.saves, model, ctx, kernels_of(list(offers.values())))
        market = Market(list(offers.values()), use)
        steps = [as_step(part.step) for part in parts.values()]
        store = TrialStore(ctx.settings.cache, f"{self._about(model, ctx)} {goals.saves} {steps}")
        every = list(parts.values())
        trials = Trials(model.copy(), every, trial, judge, goals.saves, store, self._deadline)
        names = tuple(self._stages[index].step.name for index in offers)
        return Stakes(offers, names, market, trials, judge)

    def _offer(self, step: Pass, model: Model, ctx: Context) -> Offer | None:
        if not isinstance(step, PlannedPass) or not shares_budget(step):
            return None
        offer = step.offer(model, ctx, self._goals.saves)
        return offer if offer is not None and can_save(offer, self._goals.saves) else None

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
