"""The extremes of samples add up whatever the order and however they are split."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.calibration import SampleRanges


def seen(values: list[np.ndarray]) -> SampleRanges:
    made = SampleRanges()
    for one in values:
        made.update(one)
    return made


@pytest.fixture
def samples() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(rng.integers(1, 50)) * rng.uniform(0.1, 10) for _ in range(20)]


@pytest.mark.parametrize("split", [0, 1, 7, 20])
def test_merging_parts_gives_the_whole(samples: list[np.ndarray], split: int) -> None:
    whole, merged = seen(samples), seen(samples[:split]).merge(seen(samples[split:]))
    assert np.array_equal(whole.extremes, merged.extremes)
    assert whole.mean() == merged.mean()
    assert whole.moving_average(0.1) == merged.moving_average(0.1)
    assert (whole.range.minimum, whole.range.maximum) == (merged.range.minimum, merged.range.maximum)


def test_merging_is_associative(samples: list[np.ndarray]) -> None:
    first, second, third = seen(samples[:5]), seen(samples[5:9]), seen(samples[9:])
    left, right = first.merge(second).merge(third), first.merge(second.merge(third))
    assert np.array_equal(left.extremes, right.extremes)


def test_the_mean_does_not_depend_on_the_order_bit_by_bit(samples: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    wanted = seen(samples).mean()
    for _ in range(10):
        order = rng.permutation(len(samples))
        assert seen([samples[i] for i in order]).mean() == wanted


def test_the_numbers_are_those_of_numpy(samples: list[np.ndarray]) -> None:
    low, high = seen(samples).mean()
    assert low == pytest.approx(np.mean([one.min() for one in samples]))
    assert high == pytest.approx(np.mean([one.max() for one in samples]))
    average = samples[0].max()
    for one in samples[1:]:
        average = 0.9 * average + 0.1 * one.max()
    assert seen(samples).moving_average(0.1)[1] == pytest.approx(average)


def test_a_state_restores_and_merges_on(samples: list[np.ndarray]) -> None:
    restored = SampleRanges()
    restored.restore(seen(samples[:9]).state())
    assert restored.merge(seen(samples[9:])).mean() == seen(samples).mean()
