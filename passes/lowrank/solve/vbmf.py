"""How much of a matrix is signal: the rank of the global analytic solution of empirical variational Bayes.

S. Nakajima, M. Sugiyama, S. Babacan and R. Tomioka, Global analytic solution of fully-observed variational
Bayesian matrix factorization, 2013, theorem 2 with the noise variance estimated (corollary 2).
"""

from __future__ import annotations

import numpy as np

RATIO = 2.5129  # theory: tau of the threshold, in units of the square root of the aspect ratio
PLACES = 64  # time: noise variances compared at a time
ROUNDS = 6  # time: each looks closer around the best of the last


def signal_rank(matrix: np.ndarray) -> int:
    """Return the rank of ``matrix`` (rows, columns) above its own noise; 0 when all is noise."""
    short, long = sorted(matrix.shape)
    energies = np.square(np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)) / long
    if not energies[0] > 0:
        return 0
    aspect = short / long
    tau = RATIO * aspect**0.5
    threshold = (1.0 + tau) * (1.0 + aspect / tau)
    noise = _noise(energies, aspect, threshold, short)
    return int(np.count_nonzero(energies > noise * threshold))


def _noise(energies: np.ndarray, aspect: float, threshold: float, short: int) -> float:
    """The noise variance of the least free energy, between the bounds of the corollary."""
    most = min(int(np.ceil(short / (1.0 + aspect))) - 1, short - 1)
    tail = energies[min(most, short - 1) :]
    low = max(float(tail[0]) / threshold, float(tail.mean()), 1e-12 * float(energies[0]))
    high = max(float(energies.sum()) / short, low)
    for _ in range(ROUNDS):
        tried = np.geomspace(low, high, PLACES)
        values = [_free_energy(energies / noise, aspect, threshold) for noise in tried]
        best = int(np.argmin(values))
        low, high = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, PLACES - 1)])
    return (low + high) / 2


def _free_energy(x: np.ndarray, aspect: float, threshold: float) -> float:
    large, small = x[x > threshold], np.maximum(x[x <= threshold], 1e-300)
    tau = 0.5 * (large - (1 + aspect) + np.sqrt(np.maximum(np.square(large - (1 + aspect)) - 4 * aspect, 0)))
    value = np.sum(small - np.log(small)) + np.sum(large - tau) + np.sum(np.log((tau + 1) / large))
    return float(value + aspect * np.sum(np.log(tau / aspect + 1)))
