"""One budget over all passes of a run: choose among their moves, try, correct what was predicted, try again.

A search is anytime: interrupted, or out of time, it ends with the best choice that was tried, and with
nothing chosen where none was.  It is deterministic by seed, apart from where the clock ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.pipeline.search.attempts import Attempts
from graphopt.pipeline.search.market import Choice, Market
from graphopt.pipeline.search.trials import OutOfTimeError, Trials, Tried
from graphopt.record.budget import BudgetRecord, BudgetTrial
from graphopt.solve import search_budget

if TYPE_CHECKING:
    from graphopt.pipeline.search.degradation import Degradation

TRIES = 5  # time: trials at most
# time: of the limit, at which the first trial aims: one that keeps the limit is a result; nearer where moves
# are so large that nothing comes below
FIRST = (0.6, 0.8, 1.0)
# time: the same for the others, by which much more is known; beyond the limit where nothing new comes below:
# what a pass that has moved nothing yet costs is a guess
NEXT = (0.9, 1.0, 1.5, 2.5)
GUESS = 10.0  # time: times the limit; what a pass that has moved nothing may be predicted to cost in a trial
CLOSE = 0.8  # time: of the limit; a trial that loses so much is near enough
INSIDE = 0.15  # time: of the way between two trials, in noise, that the next keeps from either
NEAR = {"latency": 0.02}  # noise: by how much a goal may be passed that was measured
EXACT = 0.003  # time: below a goal that is counted, at which to aim, so that widths have room


@dataclass(frozen=True)
class Goals:
    """What a run may lose and has to save.

    ``max_drop`` in points; ``amount`` is the fraction of what the run ``saves`` that may be left.  With
    ``risk`` the loss counts as it is seen, without it the bound at 90 % confidence does.
    """

    saves: str
    max_drop: float | None = None
    amount: float | None = None
    risk: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Settled:
    """The choice of a search, what was missed, and its record."""

    choice: Choice
    tried: Tried | None
    missed: tuple[str, ...]
    record: BudgetRecord


class BudgetSearch:
    """Searches the moves of a market for the goals of a run."""

    def __init__(
        self,
        goals: Goals,
        market: Market,
        trials: Trials,
        judge: Degradation,
        passes: Sequence[str],
        deadline: float | None = None,
    ) -> None:
        self._goals, self._market, self._judge = goals, market, judge
        self._passes = tuple(passes)
        self._attempts = Attempts(market, trials, judge, passes, self._counts, deadline)
        self._prediction, self._tried = self._attempts.prediction, self._attempts.tried
        self._said: list[str] = []
        self._uses_bound = not goals.risk

    def search(self) -> Settled:
        """Search; the choice may be to move nothing."""
        goals = self._goals
        if goals.max_drop is not None and self._uses_bound:
            self._check_samples(goals.max_drop)
        missed: list[str] = []
        choice: Choice = self._market.nothing
        try:
            if goals.amount is not None:
                choice, missed = self._for_goal(goals.amount)
            elif goals.max_drop is not None:
                choice = self._within_drop(goals.max_drop)
        except OutOfTimeError:
            choice = self._after("the time limit ended the search")
        except KeyboardInterrupt:
            choice = self._after("the search was interrupted")
        if goals.amount is not None and not missed and choice == self._market.nothing and goals.amount < 1.0:
            missed = [f"{goals.saves}={goals.amount:g} was not reached: no trial came to an end"]
        self._summarise(choice)
        return Settled(choice, self._tried.get(choice), tuple(missed), self._record(choice))

    def _counts(self, tried: Tried) -> float:
        """The points that a limit is held against."""
        return tried.loss.upper if self._uses_bound else tried.loss.points

    # -- at most so many points ---------------------------------------------------------------------------

    def _within_drop(self, limit: float) -> Choice:
        """The least use whose loss stays within ``limit`` points."""
        aims: Sequence[float] = FIRST
        for _ in range(TRIES):
            choice = self._untried(aims, limit)
            if choice is None:
                break
            tried = self._attempts.carry_out(choice)
            learnt = self._try_idle(limit)
            if CLOSE * limit <= self._counts(tried) <= limit and not learnt:
                break
            aims = NEXT
        return self._best(limit)

    def _try_idle(self, limit: float) -> bool:
        """Try each pass that nothing has moved yet alone, beyond the limit: what it costs was a guess.

        Layer by layer, noise is predicted as if all of it came through; where it does not, a pass whose moves
        save only together would never be tried.
        """
        market, prediction, before = self._market, self._prediction, len(self._tried)
        moved = np.sum([self._attempts.moved(choice) for choice in self._tried], axis=0)
        for owner in np.flatnonzero(moved == 0):
            noise = GUESS * prediction.noise_for(limit)
            choice = market.only(int(owner)).within_degradation(noise, prediction.weights)
            if choice != market.nothing and choice not in self._tried:
                self._attempts.carry_out(choice)
        return len(self._tried) > before

    def _untried(self, aims: Sequence[float], limit: float) -> Choice | None:
        """A choice that aims at these shares of the limit, in turn; None where they lead to nothing new."""
        for aim in aims:
            noise = self._between(self._prediction.noise_for(aim * limit), limit)
            choice = self._market.within_degradation(noise, self._prediction.weights)
            if choice != self._market.nothing and choice not in self._tried:
                return choice
        return None

    def _between(self, noise: float, limit: float) -> float:
        """The noise to aim at, well inside what trials have kept and broken the limit at."""
        good = [self._attempts.noise(c) for c, tried in self._tried.items() if self._counts(tried) <= limit]
        bad = [self._attempts.noise(c) for c, tried in self._tried.items() if self._counts(tried) > limit]
        if bad:
            low, high = max(good, default=0.0), min(bad)
            if low >= high:
                return noise if noise < high else high / 2
            if low <= 0.0:
                return min(noise, high / 2)
            way = np.log(high / low)
            return float(np.clip(noise, low * np.exp(INSIDE * way), high * np.exp(-INSIDE * way)))
        return max(noise, max(good, default=0.0))

    def _best(self, limit: float | None = None) -> Choice:
        """Of the choices that were tried and keep the limit, the one that leaves least; else nothing."""
        kept = [
            choice for choice, tried in self._tried.items() if limit is None or self._counts(tried) <= limit
        ]
        return min(kept, key=lambda choice: self._tried[choice].left, default=self._market.nothing)

    # -- at most so much left -----------------------------------------------------------------------------

    def _for_goal(self, amount: float) -> tuple[Choice, list[str]]:
        """The least loss that leaves at most ``amount``; with a limit too, what the limit allows."""
        goals, market = self._goals, self._market
        near = NEAR.get(goals.saves, EXACT)
        aim = amount if goals.saves in NEAR else amount * (1.0 - EXACT)
        reached = search_budget(
            aim,
            market.nothing,
            lambda budget: market.within_use(budget, self._prediction.weights),
            lambda choice: self._attempts.carry_out(choice).left,
            range(TRIES),
            close=near,
        )
        if not reached.met:
            why = (
                f"{goals.saves}={amount:g} is out of reach: with every move taken {reached.ratio:.3g} is left"
            )
            return reached.plan, [f"{why}; what no pass may change takes the rest"]
        if goals.max_drop is None or reached.plan == market.nothing:
            return reached.plan, []
        lost = self._counts(self._tried[reached.plan])
        if lost <= goals.max_drop:
            return reached.plan, []
        choice = self._within_drop(goals.max_drop)
        left = self._tried[choice].left if choice in self._tried else 1.0
        return choice, [
            f"{goals.saves}={amount:g} would cost {lost:.2f} points where {goals.max_drop:g} may be lost: "
            f"{left:.3g} is left of the {goals.saves} instead"
        ]

    # -- what is said -------------------------------------------------------------------------------------

    def _check_samples(self, limit: float) -> None:
        """Say when no result could be promised on so few samples, and go by what is seen instead."""
        needed = self._judge.needed(limit)
        if self._judge.samples < needed:
            self._uses_bound = False
            self._said.append(
                f"{self._judge.samples} held-out samples are too few to promise {limit:g} points with 90 % "
                f"confidence by the metric, which takes {2 * needed} calibration samples: the loss was held "
                "to the limit as it is seen on them"
            )

    def _after(self, why: str) -> Choice:
        """The best so far when a search ends early."""
        choice = self._best(self._goals.max_drop)
        if self._goals.amount is not None and self._goals.max_drop is None:
            fits = [c for c, tried in self._tried.items() if tried.left <= self._goals.amount]
            choice = max(fits, key=lambda c: self._tried[c].left, default=choice)
        found = f"the best of {_trials(len(self._tried))} was taken"
        if choice == self._market.nothing:
            found = f"no trial was good enough by then, so {', '.join(self._passes)} changed nothing"
        self._said.append(f"{why}: {found}")
        return choice

    def _summarise(self, choice: Choice) -> None:
        goals, tried = self._goals, self._tried.get(choice)
        if tried is None:
            if self._tried and goals.max_drop is not None:
                least = min(self._counts(one) for one in self._tried.values())
                self._said.append(
                    f"no move keeps {goals.max_drop:g} points: the most timid trial lost {least:.2f} "
                    f"({self._judge.kind})"
                )
            elif not self._tried and not self._said:
                self._said.append("no move saves enough for what it would lose")
            return
        text = (
            f"{tried.left:.3g} of the {goals.saves} left after {_trials(len(self._tried))} on "
            f"{self._judge.samples} held-out samples: {tried.loss.points:.2f} points ({self._judge.kind})"
        )
        if self._uses_bound:
            text += f", with 90 % confidence at most {tried.loss.upper:.2f}"
        if goals.max_drop is not None:
            text += f"; {goals.max_drop:g} may be lost"
        self._said.append(text)

    def _record(self, chosen: Choice) -> BudgetRecord:
        made = tuple(
            BudgetTrial(
                tried.left,
                tried.loss.points,
                tried.loss.upper,
                tried.loss.noise,
                self._attempts.noise(choice),
                self._attempts.moved(choice),
                choice == chosen,
            )
            for choice, tried in self._tried.items()
        )
        goals, judge = self._goals, self._judge
        return BudgetRecord(
            goals.saves,
            goals.max_drop,
            goals.amount,
            judge.kind,
            judge.samples,
            self._passes,
            made,
            tuple(self._said),
        )


def _trials(count: int) -> str:
    return f"{count} trial{'s' if count != 1 else ''}"
