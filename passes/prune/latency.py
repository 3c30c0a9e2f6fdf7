"""Reach a fraction of the measured time: plan by the times of single layers, then measure the whole.

Times of layers do not quite add up to that of a network, so each plan is carried out on a copy and measured
in turn with the original, and the budget is moved until the measured ratio fits.  Only ratios count, of
layers to layers and of networks to networks: absolute times of both need not agree, e.g. where other work
slows the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir, runtime
from graphopt.cost import LatencyTable
from graphopt.runtime import paired_latency

from .choice import Choice
from .coupling import couple
from .facts import Facts
from .predict import Keep
from .stairs import measured_stairs
from .surgery import remove_channels

if TYPE_CHECKING:
    from graphopt.pipeline import Context

TRIES = 6
CLOSE = 0.03  # of the goal, above which a measured ratio counts as missed
WASTE = 0.04  # of the goal, below which a ratio is needlessly small
SECONDS = 3.0  # for measuring one plan


@dataclass(frozen=True)
class Reached:
    """A choice, the fraction of the time that it was measured to take, and whether that is the goal."""

    keep: Keep
    ratio: float
    met: bool


def reach_latency(model: ir.Model, facts: Facts, choice: Choice, goal: float, ctx: Context) -> Reached:
    """Return the choice of least cost whose measured time is about ``goal`` of the model's.

    Where that cannot be reached, the fastest choice that was tried comes back, and never one that is slower
    than the model as it is.
    """
    table = LatencyTable.open(ctx.settings.times, ctx.threads, progress=ctx.settings.progress)
    block = ctx.target.block(runtime.machine()["isa"])
    stairs = measured_stairs(choice.coupling, choice.cells, facts, table, block)
    session, feeds = ctx.session(model), next(iter(ctx.inputs.check)).feeds
    best = Reached(choice.coupling.keep_all(), 1.0, goal >= 1.0)
    fast, slow = (0.0, 0.0), (1.0, 1.0)  # budgets and their ratios, below the goal and above
    budget, tried = goal, set[bytes]()
    for _ in ctx.progress("prune: measuring plans", range(TRIES), TRIES):
        widths, possible = choice.spend(stairs, budget)
        keep = choice.keep(widths)
        if keep.tobytes() in tried:
            break  # widths are too coarse for anything between
        tried.add(keep.tobytes())
        trial = model.copy()
        remove_channels(trial, couple(trial, facts), keep)
        ratio = paired_latency(session, ctx.session(trial), feeds, seconds=SECONDS).ratio
        is_slow = ratio > goal * (1 + CLOSE)
        if _better(ratio, best.ratio, goal):
            best = Reached(keep, ratio, not is_slow)
        if (goal * (1 - WASTE) <= ratio and not is_slow) or (is_slow and not possible):
            break
        fast, slow = (fast, (budget, ratio)) if is_slow else ((budget, ratio), slow)
        budget = _between(fast, slow, goal)
    return best


def _between(fast: tuple[float, float], slow: tuple[float, float], goal: float) -> float:
    """The budget at which the goal lies on the line between a fast and a slow plan, well inside."""
    rise = slow[1] - fast[1]
    part = (goal - fast[1]) / rise if rise > 0 else 0.5
    return fast[0] + min(max(part, 0.1), 0.9) * (slow[0] - fast[0])


def _better(ratio: float, known: float, goal: float) -> bool:
    """Whether a ratio is nearer to what is wanted: first to keep the goal, then to waste little."""
    keeps, kept = ratio <= goal * (1 + CLOSE), known <= goal * (1 + CLOSE)
    if keeps != kept:
        return keeps
    return ratio > known if keeps else ratio < known
