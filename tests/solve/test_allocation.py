"""A budget is spent at the least cost: against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.solve import Curve, spend


def problem(seed: int, groups: int, convex: bool) -> tuple[list[Curve], np.ndarray]:
    """Curves over sizes 8, 7, ... 1, and how much of the budget one unit of each group takes."""
    rng = np.random.default_rng(seed)
    steps = rng.random((groups, 7))
    if convex:
        steps.sort(axis=1)
    costs = np.concatenate([np.zeros((groups, 1)), steps.cumsum(axis=1)], axis=1)
    weights = rng.random(groups) + 0.1
    return [Curve(np.arange(8, 0, -1), row) for row in costs], weights / (8 * weights.sum())


def solved(curves: list[Curve], weights: np.ndarray, budget: float) -> tuple[np.ndarray, float]:
    def use(sizes: np.ndarray) -> float:
        return float(sizes @ weights)

    def slopes(sizes: np.ndarray, group: int, candidates: np.ndarray) -> np.ndarray:
        return use(sizes) + (candidates - sizes[group]) * weights[group]

    found = spend(curves, use, slopes, budget)
    return found.sizes, use(found.sizes)


def cost(curves: list[Curve], sizes: np.ndarray) -> float:
    return sum(float(curve.costs[curve.sizes == size][0]) for curve, size in zip(curves, sizes, strict=True))


@given(st.integers(0, 500), st.floats(0.15, 0.99), st.booleans())
@settings(max_examples=60, deadline=None)
def test_near_the_best_of_all_choices(seed: int, budget: float, convex: bool) -> None:
    curves, weights = problem(seed, 3, convex)
    sizes, used = solved(curves, weights, budget)
    assert used <= budget
    best = min(
        cost(curves, np.array(choice))
        for choice in itertools.product(range(1, 9), repeat=3)
        if np.array(choice) @ weights <= budget
    )
    # One multiplier is optimal up to the group whose step does not fit any more.
    slack = max(float(np.diff(curve.costs).max()) for curve in curves) * (1 if convex else 3)
    assert cost(curves, sizes) <= best + slack


@given(st.integers(0, 500), st.floats(0.2, 0.99))
@settings(max_examples=40, deadline=None)
def test_no_step_is_left_that_would_still_fit(seed: int, budget: float) -> None:
    curves, weights = problem(seed, 6, False)
    sizes, used = solved(curves, weights, budget)
    for group, size in enumerate(sizes):
        assert size == 8 or used + weights[group] > budget


def test_everything_and_nothing() -> None:
    curves, weights = problem(0, 4, True)
    assert solved(curves, weights, 1.0)[0].tolist() == [8] * 4
    found = spend(curves, lambda sizes: float(sizes @ weights), lambda *_: np.zeros(8), 0.01)
    assert found.sizes.tolist() == [1] * 4 and not found.kept


def test_groups_that_multiply() -> None:
    """Two layers in a row: the middle width counts in both; the cheap group shrinks."""
    curves = [Curve(np.array([4, 2]), np.array([0.0, 5.0])), Curve(np.array([4, 2]), np.array([0.0, 1.0]))]

    def use(sizes: np.ndarray) -> float:
        return float(sizes[0] + sizes[0] * sizes[1]) / 20

    def slopes(sizes: np.ndarray, group: int, candidates: np.ndarray) -> np.ndarray:
        return np.array([use(np.where(np.arange(2) == group, size, sizes)) for size in candidates])

    assert spend(curves, use, slopes, 0.7).sizes.tolist() == [4, 2]
