"""The search against trials whose outcome is a known function of what is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphopt.pipeline.contract.base import Offer, Plan
from graphopt.pipeline.contract.moves import Move, Saving
from graphopt.pipeline.search.budget import BudgetSearch, Goals, Settled
from graphopt.pipeline.search.consumption import Consumption
from graphopt.pipeline.search.degradation import Loss
from graphopt.pipeline.search.market import Market
from graphopt.pipeline.search.trials import Tried

ITEMS, LEVELS = 6, 5


def market(seed: int) -> Market:
    rng = np.random.default_rng(seed)
    moves = []
    for item in range(ITEMS):
        saved, cost = (
            np.cumsum(rng.uniform(0.005, 0.03, LEVELS)),
            np.cumsum(rng.uniform(0.5, 1.5, LEVELS)) ** 2,
        )
        moves += [
            Move(f"i{item}", "group", 1 - n / 10, 1e-4 * float(cost[n]), saving=Saving(macs=float(saved[n])))
            for n in range(LEVELS)
        ]
    return Market([Offer(tuple(moves), lambda model, taken, ctx: Plan())], Consumption("macs", {}, 1.0))


class Trials:
    """Noise is ``factor`` times what is predicted, points ``scale`` times its root, their bound 1.3 times."""

    longest = 0.0

    def __init__(self, factor: float, scale: float, ends: int | None = None) -> None:
        self.factor, self.scale, self.ends, self.count = factor, scale, ends, 0

    def carry_out(self, taken: Sequence[Sequence[Move]]) -> Tried:
        if self.count == self.ends:
            raise KeyboardInterrupt
        self.count += 1
        moves = taken[0]
        noise = self.factor * sum(move.degradation for move in moves)
        points = self.scale * math.sqrt(noise)
        left = 1.0 - sum(move.saving.macs for move in moves)
        return Tried(left, Loss(points, 1.3 * points, noise), (noise,))


def judge(needed: int = 2) -> Any:
    return SimpleNamespace(
        expected=lambda: lambda noise: 100.0 * math.sqrt(noise),
        needed=lambda limit: needed,
        samples=32,
        kind="disagreement",
    )


def search(goals: Goals, trials: Trials, seed: int = 0, needed: int = 2) -> Settled:
    found: Any = trials
    return BudgetSearch(goals, market(seed), found, judge(needed), ["fake"]).search()


def most_saved(seed: int, noise: float) -> float:
    """The most that any choice saves whose predicted degradation stays within ``noise``."""
    items = [[(move.saving.macs, move.degradation) for move in item.moves] for item in market(seed).items]
    saved, cost = np.zeros(1), np.zeros(1)
    for moves in items:
        more = np.array(moves)
        saved, cost = (saved[:, None] + more[:, 0]).ravel(), (cost[:, None] + more[:, 1]).ravel()
    return float(saved[cost <= noise].max())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("scale", [20.0, 100.0, 300.0])
def test_a_search_saves_much_of_what_the_limit_allows_and_keeps_it(
    seed: int, factor: float, scale: float
) -> None:
    """Against every choice there is; the search has five trials and does not know the two factors."""
    limit = 4.0
    settled = search(Goals("macs", limit), Trials(factor, scale), seed)
    possible = most_saved(seed, (limit / 1.3 / scale) ** 2 / factor)
    tried = settled.tried
    assert len(settled.record.trials) <= 5
    assert tried is None or tried.loss.upper <= limit
    assert 1.0 - (1.0 if tried is None else tried.left) >= 0.7 * possible


def test_with_risk_the_loss_counts_as_it_is_seen() -> None:
    careful = search(Goals("macs", 4.0), Trials(1.0, 100.0))
    bold = search(Goals("macs", 4.0, risk=True), Trials(1.0, 100.0))
    assert careful.tried is not None and bold.tried is not None
    assert bold.tried.loss.points <= 4.0 < bold.tried.loss.upper
    assert bold.tried.left < careful.tried.left


def test_too_few_samples_for_a_promise_are_said_with_how_many_would_do() -> None:
    settled = search(Goals("macs", 1.0), Trials(1.0, 100.0), needed=230)
    assert any("takes 460 calibration samples" in text for text in settled.record.said)
    assert not any("90 % confidence at most" in text for text in settled.record.said)


def test_a_limit_that_no_move_keeps_takes_none() -> None:
    settled = search(Goals("macs", 0.001), Trials(8.0, 300.0))
    assert settled.tried is None
    assert not any(settled.choice)
    assert settled.record.said


@pytest.mark.parametrize("ends", [1, 2])
def test_an_interrupted_search_takes_the_best_so_far(ends: int) -> None:
    whole = search(Goals("macs", 4.0), Trials(0.05, 20.0))
    assert len(whole.record.trials) > 1
    settled = search(Goals("macs", 4.0), Trials(0.05, 20.0, ends=ends))
    within = [trial.left for trial in settled.record.trials if trial.upper <= 4.0]
    assert settled.tried is not None
    assert settled.tried.left == min(within)


@pytest.mark.parametrize("amount", [0.9, 0.7])
def test_a_goal_that_is_counted_is_kept(amount: float) -> None:
    settled = search(Goals("macs", None, amount), Trials(1.0, 100.0))
    assert settled.tried is not None
    assert amount - 0.05 < settled.tried.left <= amount
    assert not settled.missed


def test_a_pass_that_looks_too_costly_is_tried_all_the_same() -> None:
    """What saves most costs a fiftieth of what was predicted, which is nine times what may be lost."""
    narrow = [Move(f"n{n}", "group", 0.5, 1e-5, saving=Saving(macs=0.01)) for n in range(4)]
    stored = [Move("s", "layer", 0.25, 9e-4, saving=Saving(macs=0.4))]
    offers = [Offer(tuple(moves), lambda model, taken, ctx: Plan()) for moves in (narrow, stored)]

    class Diluted:
        longest = 0.0

        def carry_out(self, taken: Sequence[Sequence[Move]]) -> Tried:
            first, second = (sum(move.degradation for move in moves) for moves in taken)
            left = 1.0 - sum(move.saving.macs for moves in taken for move in moves)
            noise = first + second / 50
            points = 100.0 * math.sqrt(noise)
            return Tried(left, Loss(points, points, noise), (first, noise))

    trials: Any = Diluted()
    market = Market(offers, Consumption("macs", {}, 1.0))
    settled = BudgetSearch(Goals("macs", 1.0, risk=True), market, trials, judge(), ["n", "s"]).search()
    assert settled.tried is not None and settled.tried.loss.points <= 1.0
    assert len(market.taken(settled.choice, 1)) == 1
