"""Fit one layer to its target by damped least squares, with an eye for what readers see of the target.

Where a Relu follows, targets below zero may as well be any number below zero: after each fit the target
there becomes what the fit came to, clamped to where it does not matter, and the layer is fitted again.  Each
round lowers the error behind the Relu (X. Zhang et al., 2015, solve the same by alternation).  The bias is
fitted too, so means match; matching the spread as well, by stretching outputs, made results worse.
"""

from __future__ import annotations

import math

import numpy as np

from .layer_task import Task
from .rows import Rows

ROUNDS = 3  # time: fits to what readers see; the error hardly falls after


def fitted(
    task: Task,
    rows: Rows,
    gram: np.ndarray,
    current: np.ndarray,
    alive: np.ndarray,
    *,
    start: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Return the weights that come closest to the targets, pulled towards ``current``.

    ``gram`` is that of ``rows``; inputs that are not ``alive`` (groups, n) are zero in both and stay so.
    ``start`` is a solution to go on from.
    """
    clamped = any(math.isfinite(bound) for bound in task.seen)
    fit = task.solver(gram, rows.count, float(alive.mean()))
    weights = start
    if weights is None or not clamped:
        weights = fit(rows.cross(rows.wanted(), task.biased), current)
    for _ in range(rounds if clamped else 0):
        wanted = _unseen_moved(rows.targets, rows.come_to(weights, task.biased), task.seen)
        if rows.beside is not None:
            wanted = wanted - rows.beside
        weights = fit(rows.cross(wanted, task.biased), current)
    return weights


def relative_error(task: Task, rows: Rows, weights: np.ndarray) -> float:
    """The squared error of what readers see, relative to the variance of that."""
    low, high = task.seen
    wanted = np.clip(rows.targets, low, high)
    missed = np.clip(rows.come_to(weights, task.biased), low, high) - wanted
    spread = wanted - wanted.mean(axis=1, keepdims=True, dtype=np.float64)
    return _squares(missed) / max(_squares(spread), 1e-30)


def _unseen_moved(targets: np.ndarray, come_to: np.ndarray, seen: tuple[float, float]) -> np.ndarray:
    """The targets, moved to what the layer comes to as far as no reader sees it."""
    low, high = seen
    wanted = np.where(targets <= low, np.minimum(come_to, low), targets)
    return np.where(targets >= high, np.maximum(come_to, high), wanted)


def _squares(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())
