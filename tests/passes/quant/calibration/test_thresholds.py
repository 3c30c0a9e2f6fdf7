"""Intervals equal what slow, literal searches find, and the quantiles of the values themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.calibration import Histogram
from graphopt.passes.quant.calibration.thresholds import (
    entropy_range,
    mse_range,
    percentile_range,
    storing_error,
)

RNG = np.random.default_rng(0)
SHAPES = {
    "bell": RNG.normal(size=20000),
    "relu": np.maximum(RNG.normal(size=20000), 0),
    "outlier": np.append(RNG.normal(size=20000), [60.0]),
    "negative": -np.abs(RNG.normal(size=20000)) * 3,
    "long tail": RNG.laplace(size=20000) ** 3,
}


def histogram(values: np.ndarray, bins: int = 2048) -> Histogram:
    made = Histogram(bins, most=2**20)
    made.update(values.astype(np.float32))
    return made


def stored(values: np.ndarray, low: float, high: float, levels: int) -> np.ndarray:
    """What is read back of values stored in even steps, zero being one of them."""
    step = (high - low) / levels
    zero = round(-low / step)
    return (np.clip(np.rint(values / step) + zero, 0, levels) - zero) * step


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("percentile", [99.0, 99.9])
def test_percentiles_are_those_of_the_values(name: str, percentile: float) -> None:
    values, made = np.sort(SHAPES[name]), histogram(SHAPES[name])
    low, high = percentile_range(made, percentile)
    one_sided = made.minimum >= 0 or made.maximum <= 0
    cut = round(len(values) * (100 - percentile) / (100 if one_sided else 200))
    for found, place, has_side in ((low, cut, low < 0), (high, len(values) - 1 - cut, high > 0)):
        if has_side:
            assert (
                values[max(place - 2, 0)] - made.width
                <= found
                <= values[min(place + 2, 20000 - 1)] + made.width
            )
    assert low <= 0.0 <= high


@pytest.mark.parametrize("name", SHAPES)
def test_expected_error_is_the_error(name: str) -> None:
    """The closed form agrees with storing every value, where steps are wider than bins."""
    values, made = SHAPES[name], histogram(SHAPES[name])
    low, high = min(values.min(), 0), max(values.max(), 0)
    for fraction in (0.3, 0.7, 1.0):
        ends = np.array([low * fraction]), np.array([high * fraction])
        exact = np.square(values - stored(values, ends[0][0], ends[1][0], 255)).sum()
        assert storing_error(made, *ends, 255)[0] == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("levels", [15, 255])
def test_least_squares_is_as_good_as_brute_force(name: str, symmetric: bool, levels: int) -> None:
    values, made = SHAPES[name], histogram(SHAPES[name])
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    fractions = np.linspace(0.02, 1, 50)
    if symmetric:
        tried = [(-f * max(-low, high), f * max(-low, high)) for f in fractions]
    else:
        tried = [
            (a, b) for a in (low * fractions if low else [0.0]) for b in (high * fractions if high else [0.0])
        ]
    best = min(np.square(values - stored(values, a, b, levels)).sum() for a, b in tried)
    found = mse_range(made, levels, symmetric=symmetric)
    ends = found if not symmetric else (-max(-found[0], found[1]), max(-found[0], found[1]))
    assert np.square(values - stored(values, *ends, levels)).sum() <= (1.12 if levels > 15 else 1.35) * best


def divergence(counts: np.ndarray, end: int, levels: int) -> float:
    """Kullback and Leibler's, literally, from lists of probabilities."""
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    q = np.zeros(end)
    for level in range(levels):
        bins = slice(level * end // levels, (level + 1) * end // levels)
        filled = counts[bins] > 0
        if filled.any():
            q[bins] = np.where(filled, counts[bins].sum() / filled.sum(), 0)
    p, q = p / p.sum(), q / q.sum()
    if (q[p > 0] == 0).any():
        return math.inf
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("bins", [256, 512])
def test_entropy_is_the_least_divergence(name: str, bins: int) -> None:
    made = histogram(SHAPES[name], bins)
    counts = (made.counts[bins:] + made.counts[bins - 1 :: -1]).astype(float)
    counts[0] = 0
    used = int(counts.nonzero()[0].max()) + 1
    ends = sorted({*range(32, used, 8), used})
    best = ends[int(np.argmin([divergence(counts, end, 32) for end in ends]))] * made.width
    low, high = entropy_range(made, levels=32)
    assert (low, high) == (max(-best, min(made.minimum, 0.0)), min(best, max(made.maximum, 0.0)))


def test_an_outlier_is_cut_off() -> None:
    made = histogram(SHAPES["outlier"])
    for found in (percentile_range(made, 99.9), entropy_range(made), mse_range(made, 15)):
        assert found[1] < 30.0


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros(0), np.full(9, 3.5), np.full(9, -1e-30), [1e30]])
def test_constant_and_empty_tensors_have_ranges(values: np.ndarray) -> None:
    made = histogram(np.asarray(values))
    for found in (percentile_range(made), entropy_range(made), mse_range(made)):
        assert found[0] <= 0.0 <= found[1]
        assert np.isfinite(found).all()
