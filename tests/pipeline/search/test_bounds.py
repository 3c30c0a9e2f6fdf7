"""Upper bounds of losses: how often they fall short of the truth, on scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.pipeline.search.expected_disagreement import ExpectedDisagreement

Z = 1.6449  # each of the two bounds, of which the lower counts, may fail in one case of twenty
CLASSES = 10


def draw(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores before and after, and labels: a classifier that is right about nine times of ten."""
    labels = rng.integers(0, CLASSES, count)
    before = rng.standard_normal((count, CLASSES))
    before[np.arange(count), labels] += 3.2
    return before, before + noise * rng.standard_normal(before.shape), labels


@pytest.mark.parametrize("count", [32, 128])
@pytest.mark.parametrize("noise", [0.2, 0.4])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_bound_at_ninety_percent_fails_about_once_in_ten(count: int, noise: float, labelled: bool) -> None:
    rng = np.random.default_rng(3)
    before, after, labels = draw(rng, 200_000, noise)
    right, now = before.argmax(axis=1) == labels, after.argmax(axis=1) == labels
    truth = (
        float(right.mean() - now.mean()) if labelled else float((before.argmax(1) != after.argmax(1)).mean())
    )
    short, bounds = 0, []
    for _ in range(200):
        old, new, given = draw(rng, count, noise)
        judged = ExpectedDisagreement()
        judged.update(old, new, given if labelled else None)
        bounds.append(judged.upper_loss(Z) if labelled else judged.upper_disagreement(Z))
        short += bounds[-1] < truth
    assert short <= 0.17 * 200  # one in ten, and three standard deviations
    assert np.mean(bounds) < truth + 0.15  # and not by saying nothing


def test_what_did_not_change_is_promised_with_a_single_sample() -> None:
    old, _, labels = draw(np.random.default_rng(0), 1, 0.0)
    judged = ExpectedDisagreement()
    judged.update(old, old, labels)
    assert judged.upper_loss(Z) == 0.0
    assert judged.upper_disagreement(Z) == 0.0


def test_answers_that_are_no_numbers_are_lost() -> None:
    old, _, labels = draw(np.random.default_rng(0), 64, 0.0)
    judged = ExpectedDisagreement()
    judged.update(old, np.full_like(old, np.nan), labels)
    assert judged.upper_loss(Z) > 0.8
    assert judged.upper_disagreement(Z) == 1.0


def test_noise_of_a_known_share_changes_as_many_answers_as_expected() -> None:
    rng = np.random.default_rng(5)
    old, new, _ = draw(rng, 20_000, 0.5)
    judged = ExpectedDisagreement()
    judged.update(old, old)
    changed = float((old.argmax(1) != new.argmax(1)).mean())
    spread = float(old.std())
    # Two classes stand for the ten: less than the truth, and not by more than a factor of two.
    assert 0.5 * changed < judged.at_noise(0.25 / spread**2, spread) <= 1.1 * changed
