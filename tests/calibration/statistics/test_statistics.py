"""Statistics do not depend on order or grouping of the samples, and are exact where they say so."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.calibration import ChannelMoments, CompensatedSum, Histogram, Range, Statistic
from graphopt.calibration.statistics.table import STATISTICS, make_statistic, name_of, statistics
from graphopt.errors import DataError, UsageError

ROWS = ("sample-ranges", "gram", "head-moments")
FACTORIES: dict[str, Callable[[], Any]] = {
    # one keeps an order, the others read rows of layers or of heads (test_gram.py, test_head_moments.py)
    **{name: statistics().load(name) for name in STATISTICS if name not in ROWS},
    "few bins": lambda: Histogram(bins=4),
    "subsampled": lambda: Histogram(bins=64, most=3),
}

_floats = st.one_of(
    st.floats(-1e4, 1e4, width=32), st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(-0.0)
)
_samples = st.lists(
    st.tuples(st.just(1), st.just(3), st.integers(0, 6)).flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=_floats)
    ),
    min_size=1,
    max_size=6,
)


def f32(values: list[Any]) -> np.ndarray:
    return np.array(values, np.float32)


S = TypeVar("S", bound=Statistic)


def updated(factory: Callable[[], S], samples: list[np.ndarray]) -> S:
    statistic = factory()
    for sample in samples:
        statistic.update(sample)
    return statistic


def assert_same(first: Statistic, second: Statistic) -> None:
    """Equal bit for bit, sums of floats (pairs of high and low part) to 1e-12."""
    one, two = first.state(), second.state()
    assert one.keys() == two.keys()
    for name in one:
        if name in ("sum", "squares"):
            np.testing.assert_allclose(one[name].sum(axis=0), two[name].sum(axis=0), rtol=1e-12, atol=1e-300)
        else:
            np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("name", FACTORIES)
@given(samples=_samples, random=st.randoms())
def test_the_order_of_the_samples_does_not_matter(
    name: str, samples: list[np.ndarray], random: Random
) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    assert_same(updated(FACTORIES[name], samples), updated(FACTORIES[name], shuffled))


@pytest.mark.parametrize("name", FACTORIES)
@given(samples=_samples, cut=st.integers(0, 6))
def test_merging_halves_gives_the_whole(name: str, samples: list[np.ndarray], cut: int) -> None:
    factory = FACTORIES[name]
    halves = updated(factory, samples[:cut]).merge(updated(factory, samples[cut:]))
    assert_same(halves, updated(factory, samples))


@pytest.mark.parametrize("name", FACTORIES)
@given(samples=_samples)
def test_a_restored_statistic_goes_on_like_the_original(name: str, samples: list[np.ndarray]) -> None:
    original = updated(FACTORIES[name], samples)
    restored = FACTORIES[name]()
    restored.restore(original.state())
    assert_same(original, restored)
    for statistic in (original, restored):
        statistic.update(np.full((1, 3, 2), 2e4, np.float32))
    assert_same(original, restored)


@pytest.mark.parametrize("name", FACTORIES)
def test_merge_leaves_its_parts_alone(name: str) -> None:
    a, b = (updated(FACTORIES[name], [np.full((1, 3, 2), v, np.float32)]) for v in (1.0, 64.0))
    before = {key: value.copy() for key, value in a.state().items()}
    a.merge(b).update(np.full((1, 3, 2), 1e6, np.float32))
    for key, value in a.state().items():
        np.testing.assert_array_equal(value, before[key])


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=_floats))
def test_the_histogram_counts_what_its_edges_say(values: np.ndarray) -> None:
    histogram = updated(lambda: Histogram(bins=16), [values])
    absmax = float(np.abs(values.astype(np.float64)).max())
    assert (histogram.minimum, histogram.maximum) == (values.min(), values.max())
    assert histogram.counts.sum() == values.size
    if absmax == 0:
        assert histogram.limit == 0 and histogram.counts[16] == values.size
        return
    assert absmax < histogram.limit <= 2 * absmax  # the smallest power of two strictly above
    assert math.frexp(histogram.limit)[0] == 0.5
    edges = histogram.edges
    for index, count in enumerate(histogram.counts):
        low, high = edges[index], edges[index + 1]
        x = values.astype(np.float64)
        inside = (low <= x) & (x < high) if index >= 16 else (low < x) & (x <= high) & (x < 0)
        assert count == np.count_nonzero(inside)


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=_floats))
def test_a_floor_changes_no_count(values: np.ndarray) -> None:
    floored, plain = (
        updated(lambda floor=floor: Histogram(bins=16, floor=floor), [np.maximum(values, 0)])  # type: ignore[misc]
        for floor in (0.0, None)
    )
    np.testing.assert_array_equal(floored.counts, plain.counts)
    assert (floored.minimum, floored.maximum) == (0.0, plain.maximum)
    assert floored.key != plain.key


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=_floats), st.integers(1, 60))
def test_doubling_moves_no_count_to_a_wrong_bin(values: np.ndarray, doublings: int) -> None:
    outlier = np.float64(max(np.abs(values.astype(np.float64)).max(), 1e-30) * 2.0**doublings)
    late = updated(Histogram, [values, np.array([outlier])])
    early = updated(Histogram, [np.array([outlier]), values])
    assert late.limit == early.limit > outlier
    np.testing.assert_array_equal(late.counts, early.counts)


def test_a_wrong_merge_of_bins_would_be_seen() -> None:
    """The oracle above is sharp: shifting the merged bins by one changes the counts."""
    histogram = updated(lambda: Histogram(bins=8), [np.arange(8) / 8.0])
    np.testing.assert_array_equal(histogram.counts[8:], np.ones(8))
    histogram.update(np.array([1.0]))
    np.testing.assert_array_equal(histogram.counts[8:], [2, 2, 2, 2, 1, 0, 0, 0])


def test_extremes_of_float64_do_not_overflow_the_bins() -> None:
    tiny = np.array([5e-324, -5e-324, 1e-310])
    huge = np.array([1.7e308, -1e300])
    assert_same(updated(Histogram, [tiny, huge]), updated(Histogram, [huge, tiny]))
    assert updated(Histogram, [tiny]).counts.sum() == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.int64, np.bool_])
def test_every_numeric_type_is_counted(dtype: type) -> None:
    values: np.ndarray = np.array([[0, 1, 1]], dtype)
    histogram, moments = updated(Histogram, [values]), updated(ChannelMoments, [values])
    assert (histogram.minimum, histogram.maximum, histogram.counts.sum()) == (0, 1, 3)
    np.testing.assert_array_equal(moments.mean, [0, 1, 1])


def test_a_large_tensor_is_subsampled_but_its_extremes_are_exact() -> None:
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    values[12345] = 100.0
    histogram = updated(Histogram, [values])
    assert histogram.maximum == 100.0 and histogram.limit == 128.0
    assert histogram.counts.sum() == 16384
    positive = histogram.counts[2048:].sum() / 16384
    assert abs(positive - np.mean(values >= 0)) < 0.02
    assert updated(Histogram, [values[:32768]]).counts.sum() == 32768


def test_subsampled_positions_cover_the_whole_tensor() -> None:
    values = np.repeat(np.arange(1, 65, dtype=np.float32), 1000)  # 64 channels
    histogram = updated(lambda: Histogram(bins=128, most=6400), [values])
    counts = histogram.counts[128:][1:65]
    assert counts.sum() == 6400 and counts.min() >= 98 and counts.max() <= 102


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_counted_and_left_out(bad: float) -> None:
    values = f32([[1, 2, 3], [4, bad, 6]])
    factories: tuple[Callable[[], Statistic], ...] = (Range, Histogram, ChannelMoments)
    for factory in factories:
        assert updated(factory, [values]).nonfinite == 1
    histogram, moments = updated(Histogram, [values]), updated(ChannelMoments, [values])
    assert (histogram.minimum, histogram.maximum, histogram.counts.sum()) == (1, 6, 5)
    np.testing.assert_array_equal(moments.count, [2, 1, 2])
    np.testing.assert_array_equal(moments.mean, [2.5, 2, 4.5])
    assert updated(Range, [np.full(3, bad)]).nonfinite == 3


@given(st.integers(1, 5), st.sampled_from([1, -1, 0]), st.integers(0, 2**32 - 1))
def test_moments_are_those_of_the_concatenated_data(count: int, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.normal(3, 2, (2, 4, rng.integers(1, 9), 4)).astype(np.float32) for _ in range(count)]
    moments = updated(lambda: ChannelMoments(axis), samples)
    rows = np.concatenate([np.moveaxis(s, axis, 0).reshape(s.shape[axis], -1) for s in samples], axis=1)
    rows = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, rows.var(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(moments.minimum, rows.min(axis=1))
    np.testing.assert_array_equal(moments.maximum, rows.max(axis=1))
    np.testing.assert_array_equal(moments.count, rows.shape[1])


def test_channels_that_change_between_samples_are_refused() -> None:
    moments = updated(ChannelMoments, [np.ones((1, 3))])
    with pytest.raises(DataError, match="4 channels after 3"):
        moments.update(np.ones((1, 4)))
    with pytest.raises(DataError, match="no channel axis 1"):
        moments.update(np.ones(3))


def test_statistics_of_other_options_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Histogram(bins=4).merge(Histogram(bins=8))
    with pytest.raises(ValueError, match="do not add up"):
        ChannelMoments(1).merge(ChannelMoments(-1))
    with pytest.raises(ValueError, match="power of two"):
        Histogram(bins=100)


@given(st.permutations([1e16, 1.0, -1e16, 3.0, 1e-9, -1.0]))
def test_a_compensated_sum_survives_cancellation(terms: list[float]) -> None:
    total = CompensatedSum.zeros(1)
    for term in terms:
        total.add(np.array([term]))
    assert total.value[0] == pytest.approx(math.fsum(terms), rel=1e-12)


def test_a_statistic_is_made_from_its_name_or_from_what_makes_it() -> None:
    assert isinstance(make_statistic("range", {}), Range)
    assert make_statistic("histogram", {"bins": 8}).key == Histogram(bins=8).key
    assert (name_of(Histogram), name_of(Range)) == ("histogram", "range")
    with pytest.raises(UsageError, match="no statistic 'rnage'; did you mean 'range'"):
        make_statistic("rnage", {})
    with pytest.raises(UsageError, match="histogram cannot be made with"):
        make_statistic("histogram", {"bin": 8})
    with pytest.raises(UsageError, match="not the class of a registered statistic"):
        name_of(lambda: Histogram())
