"""From what the user asked for to a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt.pipeline.search.degradation import Degradation, trial_samples
from graphopt.pipeline.search.search_trace import SearchTrace

from ..fit.apply import on, split_quickly, split_thoroughly
from ..fit.fitting import Task
from ..layers.survey import Survey
from ..ways import KINDS
from .candidates import Offer
from .choice import Chooser, Chosen
from .latency import reach_latency
from .offers import Offers, totals_of
from .search import last_within_limit

if TYPE_CHECKING:
    from graphopt.pipeline import Context

FITTED = 128  # time: samples that a trial is fitted to at most; the result is fitted to all
HOPELESS = 0.25  # summed error of the layers, for each point that may be lost, that is not worth a trial
WORTH = 0.05  # of all multiply-accumulates: less hardly shows in the time, and accuracy is paid for it
MUCH = 2.0  # times as dear as pruning: what is not split unasked


@dataclass(frozen=True)
class Request:
    """A goal and its amount; without a goal, the points that may be lost."""

    goal: str
    amount: float
    shared: bool
    max_drop: float
    kinds: tuple[str, ...]


def decide(request: Request, layers: Survey, offers: Offers, ctx: Context) -> tuple[Chosen, str]:
    """Return what each layer becomes, and the rule that chose it in words."""
    chooser = Chooser(offers.offers, offers.totals)
    if request.goal == "energy":
        return chooser.by_energy(request.amount), f"energy={request.amount:g} of each layer's output"
    if request.goal == "rank":
        _tell_ranks_too_large(request, layers, ctx)
        return chooser.by_least_error(), f"rank={request.amount:g} in every layer"
    if request.goal == "latency":
        return _latency(request, layers, chooser, ctx)
    if request.goal:
        return _budget(request, chooser, ctx)
    if layers.samples is None:
        return chooser.lossless(), "no goal and no data: only what loses nothing but rounding"
    return _careful(request, layers, offers, chooser, ctx)


def _budget(request: Request, chooser: Chooser, ctx: Context) -> tuple[Chosen, str]:
    goal, amount = request.goal, request.amount
    now = chooser.totals[goal]
    whole = totals_of(ctx.original, ctx)[goal] if request.shared else now
    fraction = min(amount * whole / now, 1.0) if now else 1.0
    chosen, kept = chooser.by_goal(goal, fraction)
    if not kept or not now:
        least = chooser.left(chosen, goal) * now / (whole or 1.0)
        ctx.goal_missed(f"lowrank can leave {least:.3g} of the {goal} at best, {amount:g} was asked for")
    of = " of what the run began with" if request.shared else ""
    return chosen, f"{goal}={amount:g} left{of}, the same price for every layer"


def _latency(request: Request, layers: Survey, chooser: Chooser, ctx: Context) -> tuple[Chosen, str]:
    reached = reach_latency(layers.model, chooser, request.amount, ctx)
    if not reached.met:
        ctx.goal_missed(
            f"lowrank can leave {reached.ratio:.3g} of the latency at best, {request.amount:g} was asked for"
        )
    rule = f"latency={request.amount:g} left, measured {reached.ratio:.3g}, the same price for every layer"
    return reached.plan, rule


def _careful(
    request: Request, layers: Survey, offers: Offers, chooser: Chooser, ctx: Context
) -> tuple[Chosen, str]:
    """Split as much as costs no more than ``max_drop`` points on held-out samples."""
    chooser = replace(chooser, offers=worthy(offers))
    steps = _worth_trying(chooser, request.max_drop)
    if len(steps) == 1:
        return chooser.none(), "no goal: no split saves enough for what it would lose"
    model, degradation = layers.model, Degradation(layers.model, ctx)
    samples = trial_samples(ctx.calibration).take(FITTED)

    def quick(chosen: Chosen) -> None:
        split_quickly(model, on(model, tasks_of(chooser.offers, chosen)), offers.shelf)

    def thorough(chosen: Chosen) -> None:
        tasks = on(model, tasks_of(chooser.offers, chosen))
        split_thoroughly(layers, tasks, samples, ctx, others=False)

    tried: SearchTrace[Chosen] = SearchTrace(lambda chosen: chooser.left(chosen, chooser.counted))
    chosen = last_within_limit(model, steps, quick, thorough, degradation, request.max_drop, tried.note)
    what = "MACs" if chooser.counted == "macs" else "parameters"
    tried.leave(ctx, chosen, degradation, request.max_drop, what)
    return chosen, f"no goal: the most that costs at most {request.max_drop:g} points ({degradation.measure})"


def worthy(offers: Offers) -> list[Offer]:
    """Return the offers, empty for the layers where pruning what they read is the far better bargain."""
    dear = {price.layer for price in offers.prices if price.split > MUCH * price.prune}
    return [replace(one, candidates=()) if one.layer.name in dear else one for one in offers.offers]


def _worth_trying(chooser: Chooser, max_drop: float) -> list[Chosen]:
    """Return nothing split, and ever smaller steps that save something and are not without hope."""
    hopeless = HOPELESS * max(max_drop, 1.0)
    goal = chooser.counted
    first, *others = chooser.steps()
    saving = (step for step in others if chooser.left(step, goal) <= 1.0 - WORTH)
    return [first, *(step for step in saving if chooser.error(step) <= hopeless)]


def tasks_of(offers: Sequence[Offer], chosen: Chosen) -> Mapping[str, Task]:
    """Return what a choice means for the layers, by the tensor that each makes."""
    return {
        offer.layer.output: Task(offer.layer, KINDS[one.kind], one.ranks)
        for offer, one in zip(offers, chosen, strict=True)
        if one is not None
    }


def _tell_ranks_too_large(request: Request, layers: Survey, ctx: Context) -> None:
    """Say for which layers one rank for all is no reduction."""
    kinds = [KINDS[name] for name in request.kinds]
    for layer in layers.layers.values():
        ranks = [min(kind.full(layer)) for kind in kinds if kind.fits(layer)]
        if not ranks:
            ctx.warn(f"none of kinds={'|'.join(request.kinds)} splits {layer.name}: it stays whole")
        elif max(ranks) <= request.amount:
            ctx.warn(
                f"rank={request.amount:g} is not below the full rank {max(ranks)} of {layer.name}: "
                "it stays whole"
            )
