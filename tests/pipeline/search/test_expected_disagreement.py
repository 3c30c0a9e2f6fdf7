"""Expected changes of answers from margins, against counting on many more samples."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.pipeline.search.expected_disagreement import ExpectedDisagreement


def scores(count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of ten classes before and after, and labels that the first get right nine times in ten."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=count)
    old = rng.normal(size=(count, 10))
    old[np.arange(count), labels] += rng.choice([0.0, 5.0], p=[0.1, 0.9], size=count)
    return old, old + noise * rng.normal(size=old.shape), labels


def flips(*given: np.ndarray) -> ExpectedDisagreement:
    found = ExpectedDisagreement()
    found.update(*given)
    return found


@pytest.mark.parametrize("noise", [0.3, 0.6, 1.0])
def test_few_samples_foretell_the_share_that_many_show(noise: float) -> None:
    old, new, _ = scores(100_000, noise, 0)
    truth = float(np.mean(old.argmax(axis=1) != new.argmax(axis=1)))
    told = [flips(*scores(32, noise, seed)[:2]).disagreement for seed in range(1, 41)]
    counted = [
        np.mean(a.argmax(1) != b.argmax(1)) for a, b, _ in (scores(32, noise, s) for s in range(1, 41))
    ]
    assert truth <= np.mean(told) <= 3 * truth  # on the safe side, not beyond reason
    assert np.mean(np.array(told) < 0.5 * truth) < np.mean(np.array(counted) < 0.5 * truth)


def test_the_loss_is_not_underestimated() -> None:
    old, new, labels = scores(100_000, 0.6, 0)
    truth = float(np.mean(old.argmax(axis=1) == labels) - np.mean(new.argmax(axis=1) == labels))
    told = [flips(*scores(64, 0.6, seed)).loss for seed in range(1, 41)]
    assert np.mean(np.array(told) < truth) < 0.3


def test_nothing_moved_is_no_harm() -> None:
    old, _, labels = scores(16, 0.0, 3)
    assert flips(old, old, labels).loss == 0.0
    assert flips(old, old).disagreement == 0.0


def test_probabilities_are_compared_by_their_logarithms() -> None:
    old, new, _ = scores(400, 0.6, 5)

    def softmax(values: np.ndarray) -> np.ndarray:
        grown = np.exp(values)
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))

    assert flips(softmax(old), softmax(new)).disagreement == pytest.approx(
        flips(old, new).disagreement, abs=0.003
    )


def test_nan_after_loses_the_answer_and_nan_before_judges_nothing() -> None:
    old, new, _ = scores(8, 0.0, 0)
    new[2] = np.nan
    assert flips(old, new).disagreement >= 1 / 8
    assert flips(old, new, old.argmax(axis=1)).loss >= 1 / 8
    old[3, 1] = np.inf
    new[3] = old[3, ::-1]
    once = flips(old, new)
    assert len(np.concatenate(once._margins)) == 7
    assert flips(np.full((2, 3), np.nan), np.ones((2, 3))).disagreement == 1.0
