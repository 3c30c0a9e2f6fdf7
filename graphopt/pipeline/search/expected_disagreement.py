"""How many answers of a classifier would change, judged from margins: finer than counting the few that did.

Of 32 samples one that changes its class is already three points.  But all samples tell how far the scores
moved: each has a margin, by which its class leads, and a shift of that margin.  Any shift might have met any
margin, so the expected share of changed answers is that of all pairs (margin of one, shift of another) in
which the lead is lost: n^2 cases instead of n.
"""

from __future__ import annotations

import math

import numpy as np

FEW = 1e-9  # noise: probability below which scores are no longer distinguished


class ExpectedDisagreement:
    """Collects margins and how they shift.  ``right`` says, where labels are known, whose class is right."""

    def __init__(self) -> None:
        self._margins: list[np.ndarray] = []
        self._shifts: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []  # of correctness: 1 lost, -1 won
        self._right: list[np.ndarray] = []
        self._leads: list[np.ndarray] = []  # of the right class over the best other, before and after (2, n)

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
            leads = np.stack([_leads(before, labels), _leads(after, labels)])
            leads[1, lost] = -np.inf
            self._leads.append(leads)

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

    @property
    def seen_loss(self) -> float:
        """Loss of accuracy as it was seen."""
        return float(np.concatenate(self._changes).mean()) if self._changes else 1.0

    def upper_disagreement(self, z: float) -> float:
        """The upper bound of the share of samples that get another class, ``z`` standard errors above.

        The lower of two: Wilson's for the changes that were seen, and that of all pairs of a margin and a
        shift; never below what the changes that were seen prove.
        """
        if not self._margins:
            return 1.0
        margins, shifts = np.concatenate(self._margins), np.concatenate(self._shifts)
        seen = margins + shifts < 0
        if not np.any(shifts):
            return 0.0
        by_pairs = _bound(_influence(margins, shifts), z)
        low, high = _wilson(int(seen.sum()), len(seen), z)
        return max(low, min(high, by_pairs))

    def upper_loss(self, z: float) -> float:
        """The upper bound of the loss of accuracy, ``z`` standard errors above.

        The lower of two: that of the changes that were seen, and that of leads and how they shift, right
        answers paired with right ones, which may be lost, and wrong ones with wrong ones, which may be won;
        never below what the changes that were seen prove.
        """
        if not self._right:
            return 1.0
        changes = np.concatenate(self._changes)
        before, after = np.concatenate(self._leads, axis=1)
        if np.array_equal(before, after):
            return float(changes.mean())
        seen = float(changes.mean())
        error = math.sqrt(max(float(np.square(changes).sum()) - len(changes) * seen**2, 1.0)) / len(changes)
        with np.errstate(invalid="ignore"):
            shifts = np.where(np.isneginf(after), -np.inf, after - before)
        shares, right = np.zeros(len(before)), before > 0
        shares[right] = _influence(before[right], shifts[right])
        shares[~right] = -_influence(-before[~right], -shifts[~right])
        return max(seen - z * error, min(seen + z * error, _bound(shares, z)))

    def at_noise(self, share: float, spread: float) -> float:
        """The share of answers that change under independent noise of this share of the scores' variance.

        ``spread`` is the standard deviation of a score over samples.  The lead of one class over another
        then shifts by a normal variable of twice the noise's variance.
        """
        if not self._margins or share <= 0.0:
            return 0.0
        scale = math.sqrt(2.0 * share) * spread
        if scale <= 0.0:
            return 0.0
        margins = np.concatenate(self._margins) / (scale * math.sqrt(2.0))
        return float(np.mean([0.5 * math.erfc(margin) for margin in margins.tolist()]))


def _leads(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By how much the class of each label leads, (samples,); without a score for it, it never does."""
    judged = (labels >= 0) & (labels < scores.shape[1])
    own = np.where(judged, labels, 0)
    leads = scores[np.arange(len(scores)), own] - _best_other(scores, own)
    return np.asarray(np.where(judged, leads, -np.inf))


def _influence(margins: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """What each sample contributes to the share of pairs whose lead is lost; their mean is that share."""
    count = len(margins)
    if not count:
        return np.zeros(0)
    ordered_shifts, ordered = np.sort(shifts), np.sort(margins)
    lost = np.searchsorted(ordered_shifts, -margins, side="left") / count  # by its margin
    loses = np.searchsorted(ordered, -shifts, side="left") / count  # by its shift
    return np.asarray(lost + loses - lost.mean())


def _bound(values: np.ndarray, z: float) -> float:
    """A mean, and z standard errors more."""
    return float(values.mean() + z * values.std() / math.sqrt(len(values)))


def _wilson(changed: int, count: int, z: float) -> tuple[float, float]:
    """The bounds of a rate (E. B. Wilson, 1927)."""
    rate, square = changed / count, z * z / count
    spread = z * math.sqrt(rate * (1 - rate) / count + square / (4 * count))
    middle = rate + square / 2
    return (middle - spread) / (1 + square), (middle + spread) / (1 + square)


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
