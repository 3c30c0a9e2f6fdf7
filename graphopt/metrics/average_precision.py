"""Average precision as COCO defines it (the figures of pycocotools), also over weighted images.

Boxes are matched image by image and only the outcome is kept; a precision is the envelope to the right, read
at 101 recalls, and averaged over ten overlaps from 0.5 to 0.95 and over the classes that occur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.data.ground_truth.truth import Boxes
from graphopt.metrics.boxes import overlap
from graphopt.metrics.detection_outputs import Detections

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
TINY = np.spacing(1)
CELLS = 2**22  # memory: numbers of a table of weights by boxes
MOST = 100  # fixed: boxes of one class in one image that count


@dataclass(frozen=True)
class Matches:
    """The boxes found in one image for one class, the best first, at every overlap.

    ``right`` and ``counted`` are (T, D) bool: a box matched to a crowd is neither right nor wrong and does
    not count.  ``items`` is how many items there are to find.
    """

    image: int
    scores: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    items: int


class AveragePrecision:
    """Collects matches by class and image."""

    def __init__(self) -> None:
        self.images = 0
        self._classes: dict[int, list[Matches]] = {}
        self._joined: dict[int, _Joined] = {}

    def update(self, detections: Detections, truth: Boxes) -> None:
        """Take one image."""
        for number in np.union1d(np.unique(detections.classes), np.unique(truth.classes)).tolist():
            mine = Detections(*(field[detections.classes == number] for field in _fields(detections)))
            wanted = truth.classes == number
            matches = match(mine, truth.corners[wanted], truth.crowd[wanted], self.images)
            self._classes.setdefault(number, []).append(matches)
        self.images += 1
        self._joined.clear()

    def precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Average precision at each overlap (T,), averaged over classes; NaN where there is nothing to find.

        ``weights`` (images,), or (R, images) for (R, T), say how often each image counts: whole numbers.
        """
        weights = np.ones(self.images) if weights is None else weights
        rows = np.atleast_2d(weights)
        for number, matches in self._classes.items():
            if number not in self._joined:
                self._joined[number] = _Joined.of(matches)
        by_class = [joined.precision(rows) for joined in self._joined.values()]
        values = np.stack([np.full((len(rows), len(OVERLAPS)), np.nan), *by_class])
        there = ~np.isnan(values)
        sums, counts = np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0)
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return means.reshape(*weights.shape[:-1], len(OVERLAPS))


def match(detections: Detections, wanted: np.ndarray, crowd: np.ndarray, image: int) -> Matches:
    """Give each box, the best first, the free item that it overlaps most, if by enough."""
    order = np.argsort(-detections.scores, kind="stable")[:MOST]
    items = np.argsort(crowd, kind="stable")  # crowds last: they are the second choice
    wanted, crowd = wanted[items], crowd[items]
    shared = overlap(detections.corners[order], wanted, crowd)
    right = np.zeros((len(OVERLAPS), len(order)), bool)
    counted = np.ones_like(right)
    free = np.ones((len(OVERLAPS), len(wanted)), bool)
    levels = np.minimum(OVERLAPS, 1 - 1e-10)
    enough = shared.max(axis=1, initial=0.0) >= levels[0]
    for box in np.flatnonzero(enough).tolist():
        usable = free & (shared[box] >= levels[:, None])
        item = _last_best(shared[box], usable & ~crowd)
        item = np.where(item < 0, _last_best(shared[box], usable & crowd), item)
        at = np.flatnonzero(item >= 0)
        right[at, box] = counted[at, box] = ~crowd[item[at]]
        free[at, item[at]] = crowd[item[at]]  # a crowd may be found any number of times
    return Matches(image, detections.scores[order], right, counted, int(np.count_nonzero(~crowd)))


def _last_best(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The last of the most overlapped items (M,) that are usable at each level (T, M); -1 for none."""
    ranked = np.where(usable, values, -1.0)[:, ::-1]
    best = len(values) - 1 - ranked.argmax(axis=1)
    return np.where(usable.any(axis=1), best, -1)


@dataclass(frozen=True)
class _Joined:
    """All matches of one class, the best first.

    Precision falls between two right boxes and recall stands still, so only right ones matter: ``right`` has
    their ranks at each overlap.  ``uncounted`` (T, D) are those matched to a crowd, None when there are none.
    """

    images: np.ndarray
    right: tuple[np.ndarray, ...]
    uncounted: np.ndarray | None
    owners: np.ndarray  # the image of each entry of ``items``
    items: np.ndarray

    @staticmethod
    def of(matches: list[Matches]) -> _Joined:
        scores = np.concatenate([entry.scores for entry in matches])
        order = np.argsort(-scores, kind="stable")
        images = np.concatenate([np.full(len(entry.scores), entry.image) for entry in matches])
        right = np.concatenate([entry.right for entry in matches], axis=1)[:, order]
        uncounted = ~np.concatenate([entry.counted for entry in matches], axis=1)[:, order]
        owners = np.asarray([entry.image for entry in matches])
        items = np.asarray([entry.items for entry in matches])
        ranks = tuple(np.flatnonzero(level) for level in right)
        return _Joined(images[order], ranks, uncounted if uncounted.any() else None, owners, items)

    def precision(self, weights: np.ndarray) -> np.ndarray:
        """Precision at each overlap (R, T) for weights (R, images); NaN where there is nothing to find."""
        size = max(1, CELLS // max(len(self.images), 1))
        return np.concatenate([self._portion(weights[at : at + size]) for at in range(0, len(weights), size)])

    def _portion(self, weights: np.ndarray) -> np.ndarray:
        total = weights[:, self.owners] @ self.items
        each = weights[:, self.images]
        seen = np.cumsum(each, axis=1)
        precision = np.full((len(weights), len(OVERLAPS)), np.nan)
        for level, ranks in enumerate(self.right):
            right, all_seen = np.cumsum(each[:, ranks], axis=1), seen[:, ranks]
            if self.uncounted is not None:
                all_seen = all_seen - np.cumsum(each * self.uncounted[level], axis=1)[:, ranks]
            precision[:, level] = _area(right, all_seen, total)
        return precision


def _area(right: np.ndarray, seen: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The mean over ``RECALLS`` of the envelope of precision, (R,); NaN where ``total`` (R,) is 0.

    ``right`` of the ``seen`` boxes (R, D) are right, both counted up to each right box.
    """
    precision = right / (seen + TINY)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / np.where(total > 0, total, np.nan)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")  # NaN reaches all, and is left out below
    steps = np.diff(reached, axis=1, prepend=0)
    return np.where(total > 0, (envelope * steps).sum(axis=1) / len(RECALLS), np.nan)


def _fields(detections: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return detections.corners, detections.scores, detections.classes
