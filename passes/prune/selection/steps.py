"""Plan in one step or in several: decide widths, choose channels while fitting, score what is left anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir

from ..coupling.coupling import Coupling, couple
from ..coupling.facts import Facts
from ..repair.layerwise import Repaired, repair
from ..surgery.apply import Fitted, fitted_weights
from .choice import Choice
from .consumer_selection import openings
from .predict import Keep

if TYPE_CHECKING:
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Planner:
    """Reaches a goal in ``steps``: each decides on the network as the step before has fitted it.

    ``rank`` ranks the channels of a model, ``decide`` turns a ranking and an amount into a choice and a
    rule.  ``goal`` is the whole amount, None for the careful rule.  With ``fits`` layers are fitted while
    planning, and channels that only one layer reads are chosen when its turn comes.
    """

    model: ir.Model
    facts: Facts
    ctx: Context
    rank: Callable[[ir.Model], Choice]
    decide: Callable[[Choice, float | None], tuple[Keep, str]]
    goal: float | None
    steps: int
    start: float  # the amount that changes nothing
    fits: bool
    state: str  # what ``fingerprint`` says of the model before its constants were absorbed

    def plan(self, choice: Choice) -> tuple[Keep, str, Fitted | None]:
        """Return the channels to keep, the rule that chose them, and what was fitted for that choice."""
        for step in range(1, self.steps):
            keep, _ = self.decide(choice, self._amount(step))
            fitted, _, _, _ = self._fit(choice, keep)
            # What is gone is read with weight zero now, so it counts as dead and goes first again.
            choice = self.rank(fitted)
        keep, rule = self.decide(choice, self.goal)
        exact = bool(keep[list(choice.coupling.inexact)].all())
        if self.fits and exact and not keep.all():
            _, coupling, keep, done = self._fit(choice, keep)
            return keep, rule, fitted_weights(self.model, coupling, keep, done, self.state)
        return keep, rule, None

    def _amount(self, step: int) -> float | None:
        """The goal of a step: what is left falls, or what is removed grows, evenly."""
        if self.goal is None:
            return None
        return self.start + (self.goal - self.start) * step / self.steps

    def _fit(self, choice: Choice, keep: Keep) -> tuple[ir.Model, Coupling, Keep, list[Repaired]]:
        """Choose and fit on a copy of the model."""
        fitted = self.model.copy()
        coupling = couple(fitted, self.facts)
        keep = keep.copy()
        opened = openings(coupling, choice.cells, keep, choice.dead) if self.fits else {}
        done = repair(fitted, coupling, keep, self.ctx.calibration, self.ctx, opened)
        return fitted, coupling, keep, done
