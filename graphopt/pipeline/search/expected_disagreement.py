"""How many answers of a classifier would change, judged from margins: finer than counting the few that did.

Of 32 samples one that changes its class is already three points.  But all samples tell how far the scores
moved: each has a margin, by which its class leads, and a shift of that margin.  Any shift might have met any
margin, so the expected share of changed answers is that of all pairs (margin of one, shift of another) in
which the lead is lost: n^2 cases instead of n.
"""

from __future__ import annotations

import numpy as np

FEW = 1e-9  # noise: probability below which scores are no longer told apart


class ExpectedDisagreement:
    """Collects margins and how they shift.  ``right`` says, where labels are known, whose class is right."""

    def __init__(self) -> None:
        self._margins: list[np.ndarray] = []
        self._shifts: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []  # of correctness: 1 lost, -1 won
        self._right: list[np.ndarray] = []

    def update(self, old: np.ndarray, new: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Take the scores of some samples before and after, (samples, classes).

        Samples whose scores before hold NaN or infinity cannot be judged; after, they lose every answer.
        """
        judged = _is_finite(old)
        if not judged.any():
            return
        old, new, labels = old[judged], new[judged], None if labels is None else np.asarray(labels)[judged]
        lost = ~_is_finite(new)
        before, after = _logits(old), _logits(np.where(lost.reshape(-1, *[1] * (new.ndim - 1)), old, new))
        rows = np.arange(len(before))
        winner = before.argmax(axis=1)
        margin = before[rows, winner] - _best_other(before, winner)
        self._margins.append(margin)
        shift = after[rows, winner] - _best_other(after, winner) - margin
        self._shifts.append(np.where(lost, -np.inf, shift))
        if labels is not None:
            was, now = winner == labels, (after.argmax(axis=1) == labels) & ~lost
            self._right.append(was)
            self._changes.append(was.astype(np.int64) - now)

    @property
    def disagreement(self) -> float:
        """Share of samples that get another class: what was seen, or what is expected if that is more."""
        if not self._margins:
            return 1.0
        margins, shifts = np.concatenate(self._margins), np.concatenate(self._shifts)
        return max(float(np.mean(margins + shifts < 0)), _expected(margins, shifts))

    @property
    def loss(self) -> float:
        """Loss of accuracy, on the safe side.

        One standard error more than was seen, or all flips of right answers that are expected, if these are
        fewer; never less than was seen.
        """
        if not self._right:
            return 1.0
        margins, shifts = np.concatenate(self._margins), np.concatenate(self._shifts)
        right, changes = np.concatenate(self._right), np.concatenate(self._changes)
        error = np.sqrt(max(float(np.abs(changes).sum()), 1.0)) / len(changes)
        seen = float(changes.mean())
        if not np.any(shifts):
            return seen
        expected = float(right.mean()) * _expected(margins[right], shifts) if right.any() else 1.0
        return max(seen, min(seen + float(error), expected))


def _expected(margins: np.ndarray, shifts: np.ndarray) -> float:
    """Share of all pairs of a margin and a shift in which the lead is lost."""
    ordered = np.sort(shifts)
    return float(np.searchsorted(ordered, -margins, side="left").mean() / len(shifts))


def _best_other(scores: np.ndarray, winner: np.ndarray) -> np.ndarray:
    if scores.shape[1] < 2:
        return np.zeros(len(scores))
    others = scores.copy()
    others[np.arange(len(scores)), winner] = -np.inf
    return np.asarray(others.max(axis=1))


def _is_finite(scores: np.ndarray) -> np.ndarray:
    """Which rows hold numbers alone."""
    finite = np.isfinite(scores.astype(np.float64)).reshape(len(scores), -1)
    return np.asarray(finite.all(axis=1))


def _logits(scores: np.ndarray) -> np.ndarray:
    """Scores on a scale where noise does not depend on the margin: logarithms of probabilities."""
    wide = scores.reshape(len(scores), -1).astype(np.float64)
    total = wide.sum(axis=1)
    if np.all(wide >= 0) and np.allclose(total, 1.0, atol=1e-3):
        return np.asarray(np.log(np.maximum(wide, FEW)))
    return wide
