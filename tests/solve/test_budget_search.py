"""Reaching a measured goal: against all plans measured, however wrong the prediction, and with noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.solve import BudgetSearch, search_budget
from graphopt.solve.budget_search import CLOSE, TRIES, WASTED

FINE = 400  # plans, of which one is nearer to any goal than CLOSE

Law = Callable[[float], float]  # what a plan of this predicted share is measured to come to


class Machine:
    """Plans 0 (the smallest) to ``plans``, predicted evenly from ``least`` to 1; the true law is another."""

    def __init__(self, law: Law, plans: int = FINE, least: float = 0.0, noise: float = 0.0) -> None:
        self.law, self.plans, self.least = law, plans, least
        self.rng, self.noise = np.random.default_rng(0), noise
        self.measured: list[int] = []

    def predicted(self, plan: int) -> float:
        return self.least + (1 - self.least) * plan / self.plans

    def true(self, plan: int) -> float:
        return self.law(self.predicted(plan))

    def propose(self, budget: float) -> tuple[int, bool]:
        fitting = [plan for plan in range(self.plans + 1) if self.predicted(plan) <= budget]
        return max(fitting, default=0), bool(fitting)

    def measure(self, plan: int) -> float:
        self.measured.append(plan)
        return self.true(plan) * float(1 + self.noise * self.rng.uniform(-1, 1))

    def reach(self, goal: float, tries: int = TRIES) -> BudgetSearch[int]:
        return search_budget(goal, self.plans, self.propose, self.measure, range(tries), close=CLOSE)

    def best(self, goal: float) -> float:
        """The ratio of the best of all plans, each measured."""
        ratios = [self.true(plan) for plan in range(self.plans + 1)]
        return max((ratio for ratio in ratios if ratio <= goal * (1 + CLOSE)), default=min(ratios))


def is_as_good(found: BudgetSearch[int], best: float, goal: float) -> bool:
    """Whether a plan keeps the goal, and wastes next to nothing of it or no more than the best of all."""
    return found.met and min(best, goal * (1 - WASTED * CLOSE)) <= found.ratio <= goal * (1 + CLOSE)


LAWS: dict[str, Law] = {
    "as predicted": lambda share: share,
    "a fifth is in nothing predicted": lambda share: 0.2 + 0.8 * share,
    "narrow is slow": lambda share: share**0.5,
    "narrow is fast": lambda share: share**2,
    "in stairs": lambda share: np.ceil(share * 40) / 40,
}


@pytest.mark.parametrize("goal", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_plan_found_is_as_good_as_the_best_of_all(law: Law, goal: float) -> None:
    machine = Machine(law)
    assert is_as_good(machine.reach(goal), machine.best(goal), goal)
    assert len(machine.measured) <= TRIES


def test_the_oracle_sees_a_search_that_does_not_correct() -> None:
    machine = Machine(LAWS["narrow is slow"])
    assert not is_as_good(machine.reach(0.5, tries=1), machine.best(0.5), 0.5)


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(0.05, 0.95), st.floats(0.3, 3.0), st.floats(0.0, 0.9))
def test_of_coarse_plans_the_best_one_tried_comes_back(
    plans: int, goal: float, power: float, least: float
) -> None:
    machine = Machine(lambda share: float(share**power), plans, least)
    found = machine.reach(goal)
    most = goal * (1 + CLOSE)
    ratios = [1.0, *map(machine.true, machine.measured)]
    kept = [ratio for ratio in ratios if ratio <= most]
    assert found.ratio == (max(kept) if kept else min(ratios))
    assert found.met == bool(kept)
    assert len(set(machine.measured)) == len(machine.measured) and plans not in machine.measured


@pytest.mark.parametrize("goal", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_noise_costs_no_more_than_its_size(law: Law, goal: float) -> None:
    machine = Machine(law, noise=0.02)
    found = machine.reach(goal)
    assert found.met and found.ratio <= goal * (1 + CLOSE)
    assert abs(machine.true(found.plan) / found.ratio - 1) <= 0.021
    assert machine.true(found.plan) >= min(machine.best(goal), goal) * (1 - WASTED * CLOSE) * 0.95


def test_a_goal_out_of_reach_gives_the_least_there_is() -> None:
    machine = Machine(LAWS["as predicted"], least=0.6)
    assert machine.reach(0.4) == BudgetSearch(0, 0.6, False)
    assert machine.measured == [0]  # nothing smaller is left to try


def test_nothing_that_takes_more_than_the_start_comes_back() -> None:
    machine = Machine(lambda share: 1.5 - share / 2)
    assert machine.reach(0.7) == BudgetSearch(machine.plans, 1.0, False)


def test_a_goal_close_to_the_whole_is_met_by_a_plan_and_not_by_the_start() -> None:
    machine = Machine(LAWS["as predicted"])
    found = machine.reach(0.98)
    assert found.met and found.ratio == pytest.approx(0.98, abs=0.02) and found.plan < machine.plans


def test_where_nothing_is_asked_nothing_is_measured() -> None:
    machine = Machine(LAWS["as predicted"])
    assert machine.reach(1.0) == BudgetSearch(machine.plans, 1.0, True)
    assert not machine.measured
