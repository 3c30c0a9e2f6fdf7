"""Remove whole channels from a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.pipeline import Plan, Trial
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.search.degradation import Degradation, bisect_within_budget, trial_samples
from graphopt.pipeline.search.search_trace import SearchTrace
from graphopt.runtime.difference import TOLERANCE
from graphopt.solve import STEPS
from graphopt.targets.host import block_assumption, block_in_words, channel_block

from .attention.change import change_bases
from .attention.price import rank_costs
from .attention.separate import has_products, separate
from .coupling.coupling import Coupling, couple, with_bundles
from .coupling.facts import Facts, gather_facts
from .coupling.groups import find_cells
from .fingerprint import fingerprint, model_fingerprint
from .importance.criteria import Evidence, criterion, scores
from .importance.data_free import NOTE, can_predict, predicted_rankings
from .importance.dead_channels import dead_classes
from .importance.moment_propagation import Notes
from .importance.obs import obs_rankings
from .importance.ranking import score_rankings
from .options import MAX_DROP, Options
from .plan import group_name, read_items, write_items
from .repair.constant_channels import absorb_constants, without_constants
from .repair.rows import Targets
from .report import report
from .selection.choice import Choice
from .selection.latency_goal import reach_latency
from .selection.offers import chosen_widths, moves, offered_block, translated
from .selection.predict import Keep, Predictor, Size
from .selection.steps import Planner
from .surgery.apply import carry_out, fitted_beside

if TYPE_CHECKING:
    from typing_extensions import Self

    from graphopt.data import Samples
    from graphopt.pipeline import Context

LEVELS = (0.125, 0.25, 0.375, 0.5, 0.75)  # shown: fractions of one group that sensitivity removes
# share of its variance that what reads a group may lose when there is nothing to judge by
LOSSLESS = TOLERANCE**2
NO_DATA = "no goal and no data: only channels that are constant or never read"
UNREAD = "no layer reads queries and keys, so nothing says what they cost"
# time: of the points allowed; each further trial of the careful search would win less than it takes
CLOSE = 0.8


def _levels(widths: Sequence[int], total: int) -> list[int]:
    """The allowed widths nearest to the levels that sensitivity tries, the widest first."""
    allowed = np.asarray(widths)
    nearest = {int(allowed[np.abs(allowed - (1.0 - level) * total).argmin()]) for level in LEVELS}
    return sorted(nearest - {total}, reverse=True)


@dataclass(frozen=True)
class Prune(Options):
    """Remove whole channels, the least important first, with everything coupled to them.

    Channels of Conv, ConvTranspose, Gemm and MatMul are followed through the graph; those tied by residual
    additions, concatenations, depthwise convolutions and their like go together or not at all.  Whatever
    prune cannot follow stays whole, and the report says why.

    What goes is what its readers can best do without on the calibration samples, and afterwards the weights
    that stay are fitted to what the original computed: unlabelled samples suffice, and even synthetic ones
    are much better than none.

    Batch normalisations are folded first: there are fewer cases, and the norm of a folded filter contains the
    scale that follows it.
    """

    @property
    def is_for_speed(self) -> bool:
        """Unless a goal is stated, which taking it back would miss."""
        return not self.goal

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        """Choose the channels to remove; an item is one group of a layer's output channels."""
        state = fingerprint(model, ctx)
        model, facts = self._without_constants(model, ctx)
        choice = self._choice(model, facts, ctx)
        if self.goal or not ctx.calibration_is_synthetic:
            keep, rule, fitted = self._planner(model, facts, ctx, state).plan(choice)
        else:
            keep, rule, fitted = choice.dead_only(), NO_DATA, None
            if self._notes(choice.coupling, facts, ctx) is not None:
                keep, rule = choice.lossless(LOSSLESS), f"{NO_DATA}, or as good as constant"
        if keep.all():
            ctx.warn(f"prune removed nothing ({rule})")
        predictor = Predictor(model, choice.coupling)
        self._say_prediction(predictor.size(choice.coupling.keep_all()), predictor.size(keep), ctx)
        return Plan(write_items(choice, keep, rule, predictor, self._block(ctx)), beside=fitted)

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        """Remove the channels that ``plan`` names with all that is coupled to them, and repair the rest."""
        state = fingerprint(model, ctx)
        facts = gather_facts(model, ctx, self.allow_inexact, self.attention)
        removes = any(item.get("remove") for item in plan.items)
        if removes and self.attention == "ranks" and has_products(model.graph):
            self._prepare(model, facts, ctx)
        facts = with_bundles(model, facts)
        if removes:
            absorb_constants(model, facts, ctx)
        coupling = couple(model, facts)
        keep = read_items(coupling, plan.items)
        report(self.scope.walled(coupling), keep, self._block(ctx), ctx)
        if not keep.all():
            samples = self._samples(facts, ctx) if self.repair else None
            notes = self._notes(coupling, facts, ctx) if self.repair else None
            if samples is not None and ctx.calibration_is_synthetic:
                ctx.warn("prune fitted weights to synthetic samples; real calibration data would do better")
            fitted = fitted_beside(plan, state, coupling, keep)
            for done in carry_out(model, coupling, keep, samples, ctx, notes, fitted=fitted):
                ctx.changed(done.layer, done.what)

    def trials(self, model: ir.Model, ctx: Context) -> Iterator[Trial]:
        """Yield each group alone, narrower by a few fractions of its channels."""
        model, facts = self._without_constants(model, ctx)
        choice = self._choice(model, facts, ctx)
        predictor, block = Predictor(model, choice.coupling), self._block(ctx)
        present = [widths[0] for widths in choice.allowed]
        for number, (ranking, widths) in enumerate(zip(choice.rankings, choice.allowed, strict=True)):
            total = len(ranking.order)
            for width in _levels(widths, total):
                sizes = [*present[:number], width, *present[number + 1 :]]
                items = write_items(choice, choice.keep(sizes), "one group alone", predictor, block)
                name = group_name(choice.coupling, ranking.cell)
                yield Trial(name, 1.0 - width / total, Plan(tuple(item for item in items if item["remove"])))

    def offer(self, model: ir.Model, ctx: Context, saves: str) -> Offer | None:
        """The groups at a few widths; None with a goal of its own, or without samples to price them by."""
        if self.has_goal:
            return None
        origin, state = model.copy(), model_fingerprint(model)
        block = offered_block(self._block(ctx), saves, self.round_to)
        priced = replace(self, round_to=block, max_drop=None)
        before, facts = priced._without_constants(origin, ctx)
        choice = priced._choice(before, facts, ctx, ctx.calibration)
        if not choice.adds_up:
            return None
        rule = f"by the run's budget for {saves}, at one price for all moves"

        def plan(now: ir.Model, taken: Sequence[Move], now_ctx: Context) -> Plan:
            if model_fingerprint(now) == state:
                return priced._planned(
                    now, before, facts, choice, chosen_widths(choice, taken), rule, now_ctx
                )
            other, now_facts = priced._without_constants(now, now_ctx)
            again = priced._choice(other, now_facts, now_ctx, now_ctx.calibration)
            return priced._planned(now, other, now_facts, again, translated(again, taken), rule, now_ctx)

        return Offer(tuple(moves(choice)), plan)

    def _planned(
        self,
        model: ir.Model,
        before: ir.Model,
        facts: Facts,
        choice: Choice,
        chosen: np.ndarray,
        rule: str,
        ctx: Context,
    ) -> Plan:
        """The plan that leaves each group so wide; ``before`` is the model without constant channels."""
        planner = replace(
            self._planner(before, facts, ctx, fingerprint(model, ctx)),
            decide=lambda ranked, goal: (ranked.keep(chosen), rule),
            fits=self.repair and self.importance in ("auto", "obs"),
        )
        keep, *_ = planner.plan(choice)
        if keep.all():
            ctx.warn(f"prune removed nothing ({rule})")
        predictor = Predictor(before, choice.coupling)
        self._say_prediction(predictor.size(choice.coupling.keep_all()), predictor.size(keep), ctx)
        return Plan(write_items(choice, keep, rule, predictor, self._block(ctx)))

    def for_trials(self) -> Self:
        """Prune without repair: hundreds of trials are carried out."""
        return replace(self, repair=False, steps=1)

    def _without_constants(self, model: ir.Model, ctx: Context) -> tuple[ir.Model, Facts]:
        """The model with constant channels read by nobody, and what is known of it."""
        facts = gather_facts(model, ctx, self.allow_inexact, self.attention)
        if self.attention == "ranks" and has_products(model.graph):
            model = model.copy()
            self._prepare(model, facts, ctx)
        facts = with_bundles(model, facts)
        absorbed = without_constants(model, facts, ctx)
        return absorbed, facts if absorbed is model else with_bundles(absorbed, facts)

    def _prepare(self, model: ir.Model, facts: Facts, ctx: Context) -> None:
        """Let queries, keys and values have ranks of their own, the last channels mattering least."""
        samples = self._samples(facts, ctx)
        attentions = separate(model, facts)
        if self._by_loss and samples is not None:
            change_bases(model, attentions, samples, ctx)

    @property
    def _by_loss(self) -> bool:
        """Whether channels are weighed by what their consumers lose, where there are samples to go by."""
        return self.importance in ("auto", "obs")

    def _block(self, ctx: Context) -> int:
        return channel_block(ctx.target) if self.round_to is None else self.round_to

    def _samples(self, facts: Facts, ctx: Context) -> Samples | None:
        """The samples to go by: real ones, or synthetic ones where a goal must be met."""
        may = facts.runs and (bool(self.goal) or not ctx.calibration_is_synthetic)
        return ctx.calibration if may else None

    def _notes(self, coupling: Coupling, facts: Facts, ctx: Context) -> Notes | None:
        """What normalisations predict, where there are no samples to go by and they say enough."""
        notes = ctx.notes.get(NOTE, {})
        predict = self.importance == "auto" and self._samples(facts, ctx) is None
        return notes if predict and can_predict(coupling, notes) else None

    def _choice(self, model: ir.Model, facts: Facts, ctx: Context, given: Samples | None = None) -> Choice:
        """Rank the channels of a model in every cell, by the samples ``given`` where there are any."""
        coupling = self.scope.walled(couple(model, facts))
        samples = self._samples(facts, ctx) if given is None else given if facts.runs else None
        notes = self._notes(coupling, facts, ctx)
        if samples is not None and not self.goal and given is None:
            samples = trial_samples(samples)
        ranks = rank_costs(model, coupling, samples, ctx) if samples is not None and self._by_loss else []
        if notes is not None or self._by_loss:
            priced = {one for rank in ranks for one in rank.order.tolist()}
            coupling = coupling.keeping(coupling.summed - priced, UNREAD)
        cells, dead = find_cells(coupling, self._block(ctx)), dead_classes(coupling)
        allowed = self.scope.widths(coupling, cells, self.min_channels)
        name, alike = self.importance, self.ranking == "layer"
        if notes is not None:
            rankings = predicted_rankings(model, coupling, cells, dead, notes)
            return Choice(coupling, rankings, dead, allowed, True, alike)
        if name == "auto":
            name = "l2" if samples is None else "obs"
        if samples is None and (name == "obs" or criterion(name).needs_samples):
            raise UsageError(
                f"prune: importance={name} goes by samples, and there are none that the model runs on",
                hint="give --calibration DATA or a goal, or another importance",
            )
        if name == "obs" and samples is not None:
            self._warn_of_unused_scores(ctx)
            rankings = obs_rankings(model, coupling, cells, dead, samples, ctx, ranks)
            return Choice(coupling, rankings, dead, allowed, True, alike)
        members = criterion(name).members(Evidence(model, coupling, samples, ctx))
        importance = scores(members, len(coupling.classes), self.reduction, self.normaliser)
        importance[dead] = -1.0
        return Choice(coupling, score_rankings(cells, importance), dead, allowed, False, alike)

    def _warn_of_unused_scores(self, ctx: Context) -> None:
        """Say so when options that combine the scores of filters were given where there are none."""
        defaults = {option.name: option.default for option in self.describe()}
        unused = [name for name in ("reduction", "normaliser") if getattr(self, name) != defaults[name]]
        if unused:
            ctx.warn(
                f"prune: {' and '.join(unused)} change nothing: with samples importance=auto is obs, which "
                "has no scores of filters to combine"
            )

    def _planner(self, model: ir.Model, facts: Facts, ctx: Context, state: str) -> Planner:
        return Planner(
            model=model,
            facts=facts,
            ctx=ctx,
            rank=lambda changed: self._choice(changed, facts, ctx),
            decide=lambda choice, goal: self._decide(model, facts, choice, goal, ctx),
            goal=float(getattr(self, self.goal)) if self.goal else None,
            steps=self.steps if self.goal else 1,
            start=0.0 if self.goal == "ratio" else 1.0,
            fits=self.repair and self._by_loss and self._samples(facts, ctx) is not None,
            state=state,
        )

    # -- the rules ----------------------------------------------------------------------------------------

    def _decide(
        self, model: ir.Model, facts: Facts, choice: Choice, goal: float | None, ctx: Context
    ) -> tuple[Keep, str]:
        """Return the channels to keep, and the rule that chose them in words."""
        first = "what costs its consumers least first" if choice.adds_up else f"by {self._named} first"
        if goal is None:
            return self._careful(model, facts, choice, ctx)
        if self.goal == "ratio":
            return choice.by_ratio(goal), f"ratio={self.ratio:g} of each group, {first}"
        sharing = "the same price for every group" if choice.adds_up else "equal degradation in every group"
        sharing = "the same fraction of every group" if choice.alike else sharing
        rule = f"{self.goal}={getattr(self, self.goal):g} left, {sharing}, {first}"
        if self.goal == "latency":
            reached = reach_latency(model, facts, choice, goal, ctx)
            if not reached.met:
                self._miss(reached.ratio, ctx)
            ctx.reported("", measured_latency=reached.ratio)
            return reached.keep, rule
        return self._reach(model, choice, goal, ctx), rule

    @property
    def _named(self) -> str:
        return "least L2 norm" if self.importance in ("auto", "l2") else f"least {self.importance}"

    def _reach(self, model: ir.Model, choice: Choice, fraction: float, ctx: Context) -> Keep:
        """Leave as much of what the goal counts as it allows."""
        predictor = Predictor(model, choice.coupling)
        keep, reached = choice.by_goal(self.goal, fraction, predictor)
        total = getattr(predictor.size(choice.coupling.keep_all()), self.goal)
        if not reached or not total:
            self._miss(getattr(predictor.size(keep), self.goal) / total if total else 1.0, ctx)
        return keep

    def _miss(self, least: float, ctx: Context) -> None:
        asked = getattr(self, self.goal)
        ctx.goal_missed(f"prune can leave {least:.3g} of the {self.goal} at best, {asked:g} was asked for")

    def _say_prediction(self, whole: Size, left: Size, ctx: Context) -> None:
        """Say what the plan leaves."""
        macs, params = left.macs / (whole.macs or 1), left.params / (whole.params or 1)
        text = f"{macs:.3f} of the MACs and {params:.3f} of the parameters left"
        measured = ctx.details.get("measured_latency")
        if measured is not None:
            text += f", {measured:.3f} of the time as measured"
        if self.round_to is None and (assumed := block_assumption(ctx.target)):
            ctx.details["assumed"] = assumed
            text = "; ".join(part for part in (text, block_in_words(ctx.target)) if part)
        ctx.reported(text, predicted_macs=macs, predicted_params=params)

    def _careful(self, model: ir.Model, facts: Facts, choice: Choice, ctx: Context) -> tuple[Keep, str]:
        """Prune as much as costs no more than ``max_drop`` points on held-out samples."""
        degradation, predictor = Degradation(model, ctx), Predictor(model, choice.coupling)
        limit = MAX_DROP if self.max_drop is None else self.max_drop
        keep_at = cache(lambda step: choice.at_step(step, predictor))
        samples, targets = trial_samples(ctx.calibration) if self.repair else None, Targets()
        whole = predictor.size(choice.coupling.keep_all()).macs or 1
        tried: SearchTrace[int] = SearchTrace(lambda step: predictor.size(keep_at(step)).macs / whole)

        def prune(step: int) -> None:
            carry_out(model, couple(model, facts), keep_at(step), samples, ctx, targets=targets)

        step = bisect_within_budget(model, prune, degradation, limit, STEPS, CLOSE, tried.note)
        tried.leave(ctx, step, degradation, limit)
        return keep_at(step), f"no goal: the most that costs at most {limit:g} points ({degradation.measure})"
