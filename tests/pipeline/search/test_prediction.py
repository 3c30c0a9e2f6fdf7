"""A fit of what was predicted to what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.pipeline.search.prediction import Prediction


def expected(noise: float) -> float:
    return 100.0 * math.sqrt(noise)


def test_the_noise_for_points_is_the_inverse_of_what_is_expected() -> None:
    prediction = Prediction(1, expected)
    for points in (0.1, 1.0, 20.0):
        assert expected(prediction.noise_for(points)) == pytest.approx(points, rel=1e-3)


def test_a_trial_teaches_what_each_pass_and_each_point_costs() -> None:
    prediction = Prediction(2, expected)
    degradation = np.array([0.1, 0.02])
    prediction.learn(degradation, [0.05, 0.06], 4.0)  # half of what was predicted, twice; 4 points, not 24
    assert prediction.noise(degradation) == pytest.approx(0.06)
    assert prediction.points(degradation) == pytest.approx(4.0, rel=1e-3)
    assert prediction.weights == pytest.approx([0.5, 0.5])


def test_more_trials_make_it_better() -> None:
    """Noise is 0.3 and 2 times what two passes predict, points follow its power of 0.6: errors shrink."""
    rng, prediction = np.random.default_rng(0), Prediction(2, expected)
    errors = []
    for _ in range(12):
        degradation = rng.uniform(0.001, 0.02, 2)
        own = np.array([0.3, 2.0]) * degradation * rng.uniform(0.8, 1.25, 2)
        truth = 60.0 * float(own.sum()) ** 0.6
        errors.append(abs(math.log(prediction.points(degradation) / truth)))
        prediction.learn(degradation, np.cumsum(own).tolist(), truth)
    assert np.mean(errors[6:]) < 0.6 * errors[0]


def test_what_is_not_finite_teaches_nothing() -> None:
    prediction = Prediction(1, expected)
    prediction.learn(np.array([0.1]), [math.inf], math.inf)
    assert prediction.weights == pytest.approx([1.0])
