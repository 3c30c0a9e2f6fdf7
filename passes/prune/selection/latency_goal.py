"""Reach a fraction of the measured time: plan by the times of single layers, then measure the whole.

Times of layers do not quite add up to that of a network, so each plan is carried out on a copy and measured
in turn with the original, and the budget is moved until the measured ratio fits.  Only ratios count, of
layers to layers and of networks to networks: absolute times of both need not agree, e.g. where other work
slows the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.cost import LatencyTable
from graphopt.pipeline.search.relative_time import relative_time
from graphopt.solve import search_budget
from graphopt.solve.budget_search import CLOSE, TRIES
from graphopt.targets.host import channel_block

from ..coupling.coupling import couple
from ..coupling.facts import Facts
from ..surgery.cut import remove_channels
from .choice import Choice
from .latency_model import measured_stairs
from .predict import Keep

if TYPE_CHECKING:
    from graphopt.pipeline import Context


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
    settings = ctx.settings
    table = LatencyTable.open(settings.times, ctx.threads, progress=settings.progress, device=settings.device)
    block = channel_block(ctx.target)
    stairs = measured_stairs(choice.coupling, choice.cells, facts, table, block)

    def propose(budget: float) -> tuple[bytes, bool]:
        widths, possible = choice.spend(stairs, budget)
        return choice.keep(widths).tobytes(), possible

    def measure(plan: bytes) -> float:
        trial = model.copy()
        remove_channels(trial, couple(trial, facts), _kept(plan))
        return relative_time(model, trial, ctx)

    start = choice.coupling.keep_all().tobytes()
    tries = ctx.progress("prune: measuring plans", range(TRIES), TRIES)
    reached = search_budget(goal, start, propose, measure, tries, close=CLOSE)
    return Reached(_kept(reached.plan), reached.ratio, reached.met)


def _kept(plan: bytes) -> Keep:
    """The choice that was turned into bytes, by which plans are distinguished."""
    return np.frombuffer(plan, bool).copy()
