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

    def update(self, found: Detections, truth: Boxes) -> None:
        """Take one image."""
        for number in np.union1d(np.unique(found.classes), np.unique(truth.classes)).tolist():
            mine = Detections(*(field[found.classes == number] for field in _fields(found)))
            wanted = truth.classes == number
            matches = match(mine, truth.corners[wanted], truth.crowd[wanted], self.images)
            self._classes.setdefault(number, []).append(matches)
        self.images += 1
        self._joined.clear()

    def precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Average precision at each overlap (T,), averaged over classes; NaN where there is nothing to find.

        ``weights`` (images,) says how often each image counts.
        """
        weights = np.ones(self.images) if weights is None else weights
        for number, matches in self._classes.items():
            if number not in self._joined:
                self._joined[number] = _Joined.of(matches)
        found = [joined.precision(weights) for joined in self._joined.values()]
        known = [values for values in found if values is not None]
        return np.mean(known, axis=0) if known else np.full(len(OVERLAPS), np.nan)


def match(found: Detections, wanted: np.ndarray, crowd: np.ndarray, image: int) -> Matches:
    """Give each box, the best first, the free item that it overlaps most, if by enough."""
    order = np.argsort(-found.scores, kind="stable")[:MOST]
    items = np.argsort(crowd, kind="stable")  # crowds last: they are the second choice
    wanted, crowd = wanted[items], crowd[items]
    shared = overlap(found.corners[order], wanted, crowd)
    right = np.zeros((len(OVERLAPS), len(order)), bool)
    counted = np.ones_like(right)
    for level, least in enumerate(OVERLAPS):
        free = np.ones(len(wanted), bool)
        for box, values in enumerate(shared):
            item = _choose(values, free, crowd, min(float(least), 1 - 1e-10))
            if item is None:
                continue
            counted[level, box] = not crowd[item]
            right[level, box] = not crowd[item]
            free[item] = crowd[item]  # a crowd may be found any number of times
    return Matches(image, found.scores[order], right, counted, int(np.count_nonzero(~crowd)))


def _choose(values: np.ndarray, free: np.ndarray, crowd: np.ndarray, least: float) -> int | None:
    """The last of the most overlapped free items, a crowd only where nothing else fits."""
    for group in (free & ~crowd, free & crowd):
        usable = np.flatnonzero(group & (values >= least))
        if len(usable):
            best = values[usable].max()
            return int(usable[values[usable] == best][-1])
    return None


@dataclass(frozen=True)
class _Joined:
    """All matches of one class, the best first."""

    images: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    owners: np.ndarray  # the image of each entry of ``items``
    items: np.ndarray

    @staticmethod
    def of(matches: list[Matches]) -> _Joined:
        scores = np.concatenate([entry.scores for entry in matches])
        order = np.argsort(-scores, kind="stable")
        images = np.concatenate([np.full(len(entry.scores), entry.image) for entry in matches])
        right = np.concatenate([entry.right for entry in matches], axis=1)
        counted = np.concatenate([entry.counted for entry in matches], axis=1)
        owners = np.asarray([entry.image for entry in matches])
        items = np.asarray([entry.items for entry in matches])
        return _Joined(images[order], right[:, order], (counted & ~right)[:, order], owners, items)

    def precision(self, weights: np.ndarray) -> np.ndarray | None:
        total = float((weights[self.owners] * self.items).sum())
        if total == 0:
            return None
        each = weights[self.images]
        right, wrong = np.cumsum(self.right * each, axis=1), np.cumsum(self.wrong * each, axis=1)
        recall, precision = right / total, right / (right + wrong + TINY)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
        rows = [
            line[np.searchsorted(reached, RECALLS, side="left")].mean()
            for line, reached in zip(envelope, recall, strict=True)
        ]
        return np.asarray(rows)


def _fields(found: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return found.corners, found.scores, found.classes
