"""Intervals cover the truth as often as they say, and McNemar's p-value is the binomial one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.metrics.significance import bootstrap, mcnemar, paired_rates


def test_mcnemar_is_the_two_sided_binomial_test() -> None:
    for won, lost in ((0, 0), (1, 0), (3, 9), (9, 3), (5, 5), (0, 40)):
        before = np.asarray([True] * lost + [False] * won + [True, False])
        after = np.asarray([False] * lost + [True] * won + [True, False])
        n = won + lost
        tail = sum(math.comb(n, k) for k in range(min(won, lost) + 1)) / 2**n
        assert mcnemar(before, after) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_an_interval_covers_the_true_change_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        before, after = rng.random(100) < 0.8, rng.random(100) < 0.7
        found = paired_rates(before, after, seed)
        covered += found.low <= -0.1 <= found.high
    assert 0.90 <= covered / 200 <= 0.985


def test_no_change_is_noise_and_a_large_one_is_not() -> None:
    flags = np.arange(1000) % 4 > 0
    same = paired_rates(flags, flags, 0)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert same.is_noise
    worse = paired_rates(flags, flags & (np.arange(1000) % 3 > 0), 0)
    assert not worse.is_noise
    assert worse.p is not None and worse.p < 1e-6


def test_many_samples_are_drawn_in_portions() -> None:
    change = np.random.default_rng(0).normal(1.0, 1.0, 30_000)
    (found,) = bootstrap(lambda weights: weights @ change[:, None] / len(change), len(change), 0, 200)
    error = change.std() / math.sqrt(len(change))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.25)
    assert found.difference == pytest.approx(change.mean())
