"""Moments of heads against numpy's own, in any order of the samples and in halves."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.calibration import HeadMoments
from graphopt.errors import DataError

COLUMNS = np.array([[4, 0, 2], [1, 5, 3]])


def tensors(axis: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal((2, 5, 6)).astype(np.float32) + 1 for _ in range(6)]
    return [np.moveaxis(values, -1, axis) for values in drawn]


def moments(samples: list[np.ndarray], axis: int, centred: bool) -> HeadMoments:
    made = HeadMoments("4 0 2;1 5 3", axis, centred)
    for values in samples:
        made.update(values)
    return made


@pytest.mark.parametrize("axis", [-1, 1])
def test_second_moments_and_covariances(axis: int) -> None:
    samples = tensors(axis)
    made = moments(samples, axis, centred=False)
    rows = np.concatenate([np.moveaxis(values, axis, -1).reshape(-1, 6) for values in samples]).astype(float)
    for head, columns in enumerate(COLUMNS):
        own = rows[:, columns]
        np.testing.assert_allclose(made.second[head], own.T @ own / len(own), rtol=1e-12)
        np.testing.assert_allclose(made.covariance[head], np.cov(own.T, bias=True), rtol=1e-10)


def test_centring_is_by_sequence() -> None:
    samples = tensors(-1)
    shifted = [values + np.arange(2)[:, None, None] for values in samples]
    first, second = moments(samples, -1, True), moments(shifted, -1, True)
    np.testing.assert_allclose(first.second, second.second, rtol=1e-5)
    assert not np.allclose(moments(samples, -1, False).second, moments(shifted, -1, False).second, rtol=0.1)


def test_halves_add_up_in_any_order() -> None:
    samples = tensors(-1)
    whole = moments(samples, -1, True)
    halves = moments(samples[3:], -1, True).merge(moments(samples[:3], -1, True))
    np.testing.assert_allclose(halves.second, whole.second, rtol=1e-12)
    assert halves.count == whole.count == 60
    again = HeadMoments(HeadMoments.text_of(COLUMNS), -1, True)
    again.restore(whole.state())
    np.testing.assert_array_equal(again.second, whole.second)


def test_sequences_that_are_not_finite_are_left_out() -> None:
    samples = tensors(-1)
    spoiled = [values.copy() for values in samples]
    spoiled[0][1, 2, 3] = np.nan
    made = moments(spoiled, -1, False)
    assert made.nonfinite == 1 and made.count == 55 and np.isfinite(made.second).all()


def test_a_tensor_with_fewer_channels_is_refused() -> None:
    with pytest.raises(DataError, match="channels"):
        HeadMoments(HeadMoments.text_of(COLUMNS)).update(np.zeros((1, 4, 5), np.float32))
