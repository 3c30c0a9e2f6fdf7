"""Whether a change on the same samples is more than noise: McNemar's test and the paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

RESAMPLES = 1000  # time: draws of the bootstrap
CONFIDENCE = 0.95  # shown: share of resamples inside the interval that is given


@dataclass(frozen=True)
class Paired:
    """A change from reference to model: ``difference``, its 95 % interval and, for counts, the p-value.

    In the unit of the metric, as is ``error``, the standard error of the difference; ``p`` is that of
    McNemar's exact test, None where it does not apply.
    """

    difference: float
    low: float
    high: float
    p: float | None = None
    error: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether no change at all is within the interval."""
        return self.low <= 0.0 <= self.high


def bootstrap(
    difference: Callable[[np.ndarray], np.ndarray], samples: int, seed: int, resamples: int = RESAMPLES
) -> list[Paired]:
    """The percentile intervals of differences over resampled samples (B. Efron, 1979).

    ``difference(weights)`` gets (R, N) how often each of N samples counts and returns (R, M) differences.
    """
    values = difference(np.ones((1, samples)))[0]
    rng = np.random.default_rng(seed)
    drawn = [
        difference(rng.multinomial(samples, np.full(samples, 1 / samples), size=count).astype(np.float64))
        for count in _portions(resamples, samples)
    ]
    tail = (1 - CONFIDENCE) / 2
    resampled = np.concatenate(drawn)
    low, high = np.quantile(resampled, (tail, 1 - tail), axis=0)
    columns = zip(values.tolist(), low.tolist(), high.tolist(), resampled.std(axis=0).tolist(), strict=True)
    return [Paired(value, below, above, error=error) for value, below, above, error in columns]


def paired_means(before: np.ndarray, after: np.ndarray, seed: int) -> Paired:
    """The change of a mean from one value a sample, (N,) each."""
    change = after.astype(np.float64) - before.astype(np.float64)
    (paired,) = bootstrap(lambda weights: weights @ change[:, None] / len(change), len(change), seed)
    return paired


def _portions(resamples: int, samples: int) -> list[int]:
    """Resamples in portions of at most about 16 MB of weights."""
    size = max(1, min(resamples, 2**21 // max(samples, 1)))
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def paired_rates(before: np.ndarray, after: np.ndarray, seed: int) -> Paired:
    """The change of a rate from one flag a sample, (N,) bool each, with McNemar's exact p-value."""
    return replace(paired_means(before, after, seed), p=mcnemar(before, after))


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """The two-sided exact p-value that flags changed as often up as down (Q. McNemar, 1947)."""
    won = int(np.count_nonzero(after & ~before))
    lost = int(np.count_nonzero(before & ~after))
    changed = won + lost
    logs = [_log_binomial(changed, k) - changed * math.log(2) for k in range(min(won, lost) + 1)]
    return min(1.0, 2.0 * math.fsum(math.exp(value) for value in logs))


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
