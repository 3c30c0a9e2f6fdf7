"""Where to cut the range of a tensor that is stored in few levels, from its histogram alone.

A wide range makes every step coarse, a narrow one cuts off the largest values.  All searches are sums over
the bins taken once and differences of them, so their cost hardly depends on how many candidates there are.
Every interval contains zero and lies within the exact minimum and maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphopt.calibration.statistics.histogram import Histogram

Interval = tuple[float, float]

LEVELS = 255  # fixed: steps between the smallest and the largest integer
CANDIDATES = 100  # time: ends tried on each side
SIGNED_LEVELS = 128  # fixed: magnitudes of 8 bits
FINEST = 8  # time: bins between two candidates of the entropy search


def percentile_range(histogram: Histogram, percentile: float = 99.999) -> Interval:
    """The interval that holds ``percentile`` percent of the values, as many cut off on either side of zero.

    Within a bin values are taken as evenly spread.
    """
    low, high = _whole(histogram)
    total = int(histogram.counts.sum())
    if not total or low == high:
        return low, high
    tail = total * (100.0 - percentile) / 200.0 if low < 0.0 < high else total * (100.0 - percentile) / 100.0
    sums = np.concatenate([[0], np.cumsum(histogram.counts)])
    lower = float(np.interp(tail, sums, histogram.edges)) if low < 0.0 else low
    upper = float(np.interp(total - tail, sums, histogram.edges)) if high > 0.0 else high
    return max(low, min(lower, 0.0)), min(high, max(upper, 0.0))


def entropy_range(histogram: Histogram, levels: int = SIGNED_LEVELS) -> Interval:
    """The interval [-t, t] whose ``levels`` magnitudes lose the least information (Kullback-Leibler).

    What is cut off counts to the last bin before t, and each level is spread evenly over its bins that are
    not empty (S. Migacz, 2017).  Values next to zero are left out: zero is stored exactly anyway.
    """
    low, high = _whole(histogram)
    half = histogram.bins
    counts = (histogram.counts[half:] + histogram.counts[half - 1 :: -1]).astype(np.float64)
    counts[0] = 0.0
    used = int(counts.nonzero()[0].max(initial=0)) + 1
    if used <= levels:
        return low, high
    ends = np.unique(np.append(np.arange(levels, used, FINEST), used))
    threshold = ends[np.argmin(_divergences(counts, ends, levels))] * histogram.width
    return max(low, -float(threshold)), min(high, float(threshold))


def _divergences(counts: np.ndarray, ends: np.ndarray, levels: int) -> np.ndarray:
    """The divergence of the cut and coarsened distribution from the whole, by the bin at which it is cut."""
    total = counts.sum()
    logs = np.concatenate(
        [[0.0], np.cumsum(np.where(counts > 0, counts * np.log(np.maximum(counts, 1)), 0.0))]
    )
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0.0], np.cumsum(counts > 0)])
    edges = (np.arange(levels + 1) * ends[:, None]) // levels  # (candidates, levels + 1)
    mass, bins = np.diff(sums[edges], axis=1), np.diff(filled[edges], axis=1)
    tail = total - sums[ends]
    last = counts[ends - 1]
    # sum p log p, with the tail added to the last bin
    joined = last + tail
    own = logs[ends - 1] + joined * np.log(np.maximum(joined, 1.0))
    wanted = mass.copy()
    wanted[:, -1] += tail
    seen = (wanted * np.log(np.maximum(mass, 1.0) / np.maximum(bins, 1.0))).sum(axis=1)
    divergences: np.ndarray = (own - seen) / total + np.log(np.maximum(sums[ends], 1.0) / total)
    return np.where((last == 0.0) & (tail > 0.0), np.inf, divergences)  # what is cut off has nowhere to go


def mse_range(histogram: Histogram, levels: int = LEVELS, *, symmetric: bool = False) -> Interval:
    """The interval with the least squared error of storing its values in ``levels`` even steps.

    Both ends are searched together; ``symmetric`` ones are opposite numbers.
    """
    low, high = _whole(histogram)
    if low == high:
        return low, high
    fractions = np.arange(1, CANDIDATES + 1) / CANDIDATES
    if symmetric:
        ends = fractions * max(-low, high)
        best = int(np.argmin(storing_error(histogram, -ends, ends, levels)))
        return max(low, -float(ends[best])), min(high, float(ends[best]))
    lows = low * (fractions if low < 0.0 else np.ones(1))
    highs = high * (fractions if high > 0.0 else np.ones(1))
    pairs = np.meshgrid(lows, highs, indexing="ij")
    errors = storing_error(histogram, pairs[0].ravel(), pairs[1].ravel(), levels)
    best = int(np.argmin(errors))
    return float(pairs[0].flat[best]), float(pairs[1].flat[best])


def storing_error(histogram: Histogram, lows: np.ndarray, highs: np.ndarray, levels: int) -> np.ndarray:
    """Expected squared error of each interval, summed over all values.

    Values inside are off by a twelfth of a squared step on average, those nearer to zero than half a step by
    themselves, those outside by their distance from the interval.
    """
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    moments = [np.concatenate([[0.0], np.cumsum(counts * centres**power)]) for power in range(3)]
    step = (highs - lows) / levels
    left, right = np.searchsorted(centres, lows), np.searchsorted(centres, highs, side="right")
    near = np.searchsorted(centres, -step / 2), np.searchsorted(centres, step / 2, side="right")
    below = moments[2][left] - 2.0 * lows * moments[1][left] + lows**2 * moments[0][left]
    rest = [moment[-1] - moment[right] for moment in moments]
    above = rest[2] - 2.0 * highs * rest[1] + highs**2 * rest[0]
    inside = (moments[0][right] - moments[0][left]) - (moments[0][near[1]] - moments[0][near[0]])
    close = moments[2][near[1]] - moments[2][near[0]]
    error: np.ndarray = below + above + close + np.maximum(inside, 0.0) * step**2 / 12.0
    return error


def _whole(histogram: Histogram) -> Interval:
    """The exact range, extended to contain zero."""
    if histogram.range.count == 0:
        return 0.0, 0.0
    return min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
