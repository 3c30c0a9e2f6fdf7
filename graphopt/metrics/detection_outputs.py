"""How detectors write their boxes down, and how to read them: a preset for each convention.

================  ===================================================================================
``yolov8``        one output (N, 4 + K, boxes): centre, size in pixels, then a score for each class
``yolov5``        one output (N, boxes, 5 + K): centre, size in pixels, objectness, class scores
``ssd``           boxes (N, boxes, 4) as corners in fractions of the image, and scores (N, boxes, K)
                  whose class 0 is background
``corners``       one output (N, boxes, 6): corners in pixels, score, class; suppressed already
``torchvision``   boxes (boxes, 4) as corners in pixels, labels from 1 and scores; suppressed already
================  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.errors import ModelError, UsageError
from graphopt.metrics.boxes import suppress

CANDIDATES = 3000  # time: boxes of one image that suppression looks at, the best first
# fixed: detectors that suppress boxes themselves give at most 300; raw ones 2,100 and more, YOLO at 320 x 320
FEW = 1000


@dataclass(frozen=True)
class Detections:
    """Boxes found in one image: ``corners`` (D, 4) in pixels of the feed, ``scores`` and ``classes`` (D,)."""

    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        chosen = self.scores >= score
        return Detections(self.corners[chosen], self.scores[chosen], self.classes[chosen])


@dataclass(frozen=True)
class Limits:
    """Which boxes count: the least ``score``, the ``overlap`` that suppresses, and how ``many`` an image."""

    score: float = 0.001
    overlap: float = 0.7
    many: int = 300


Size = tuple[int, int]
Arrays = Mapping[str, np.ndarray]


def decode(preset: str, outputs: Mapping[str, Any], size: Size, limits: Limits) -> list[Detections]:
    """The boxes of each image of a batch; ``size`` is the (height, width) of the feed.

    Raises UsageError for a preset that is not known, ModelError for outputs that are not of its form.
    """
    if preset not in PRESETS:
        raise UsageError(f"--decode {preset} is not known", hint=f"it is one of {', '.join(PRESETS)}")
    arrays = {name: value for name, value in outputs.items() if isinstance(value, np.ndarray)}
    return PRESETS[preset](arrays, size, limits)


def guess(outputs: Mapping[str, Any]) -> str:
    """The preset that the shapes of the outputs tell; ModelError when they tell none."""
    shapes = [value.shape for value in outputs.values() if isinstance(value, np.ndarray)]
    if len(shapes) == 3 and sorted(len(shape) for shape in shapes) == [1, 1, 2]:
        return "torchvision"
    if len(shapes) == 2 and all(len(shape) == 3 for shape in shapes):
        return "ssd"
    if len(shapes) == 1 and len(shapes[0]) == 3:
        _, rows, columns = shapes[0]
        if columns == 6 and rows <= FEW:
            return "corners"
        if min(rows, columns) >= 5:
            return "yolov8" if columns > rows else "yolov5"
    listed = ", ".join(f"{name} {getattr(value, 'shape', '?')}" for name, value in outputs.items())
    raise ModelError(f"the outputs ({listed}) are of no known detector", hint=f"--decode {'|'.join(PRESETS)}")


def _yolov8(arrays: Arrays, size: Size, limits: Limits) -> list[Detections]:
    return [_centred(rows.T[:, :4], rows.T[:, 4:], limits) for rows in _single(arrays, "yolov8", 5, axis=1)]


def _yolov5(arrays: Arrays, size: Size, limits: Limits) -> list[Detections]:
    detections = []
    for rows in _single(arrays, "yolov5", 6, axis=2):
        detections.append(_centred(rows[:, :4], rows[:, 4:5] * rows[:, 5:], limits))
    return detections


def _corners(arrays: Arrays, size: Size, limits: Limits) -> list[Detections]:
    detections = []
    for rows in _single(arrays, "corners", 6, axis=2):
        rows = rows[np.argsort(-rows[:, 4], kind="stable")][: limits.many]
        detections.append(
            Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)).above(limits.score)
        )
    return detections


def _ssd(arrays: Arrays, size: Size, limits: Limits) -> list[Detections]:
    boxes = next((value for value in arrays.values() if value.ndim == 3 and value.shape[2] == 4), None)
    scores = next((value for value in arrays.values() if value.ndim == 3 and value is not boxes), None)
    if boxes is None or scores is None or boxes.shape[:2] != scores.shape[:2]:
        raise _misfit(arrays, "ssd")
    pixels = np.asarray([size[1], size[0], size[1], size[0]], np.float64)
    return [
        _suppressed(corners.astype(np.float64) * pixels, values[:, 1:].astype(np.float64), limits)
        for corners, values in zip(boxes, scores, strict=True)
    ]


def _torchvision(arrays: Arrays, size: Size, limits: Limits) -> list[Detections]:
    boxes = next((value for value in arrays.values() if value.ndim == 2 and value.shape[1:] == (4,)), None)
    flat = [value for value in arrays.values() if value.ndim == 1]
    labels = next((value for value in flat if value.dtype.kind in "iu"), None)
    scores = next((value for value in flat if value.dtype.kind == "f"), None)
    if boxes is None or labels is None or scores is None or not len(boxes) == len(labels) == len(scores):
        raise _misfit(arrays, "torchvision")
    order = np.argsort(-scores, kind="stable")[: limits.many]
    chosen = (boxes[order].astype(np.float64), scores[order].astype(np.float64), labels[order] - 1)
    return [Detections(*chosen).above(limits.score)]


def _single(arrays: Arrays, preset: str, least: int, axis: int) -> np.ndarray:
    """The only output, (N, rows, columns) in float64, with at least so much along an axis."""
    values = list(arrays.values())
    if len(values) != 1 or values[0].ndim != 3 or values[0].shape[axis] < least:
        raise _misfit(arrays, preset)
    return values[0].astype(np.float64)


def _misfit(arrays: Arrays, preset: str) -> ModelError:
    listed = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
    return ModelError(f"the outputs ({listed}) are not of the form {preset}", hint="choose another --decode")


def _centred(boxes: np.ndarray, scores: np.ndarray, limits: Limits) -> Detections:
    half = boxes[:, 2:] / 2
    return _suppressed(np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1), scores, limits)


def _suppressed(corners: np.ndarray, scores: np.ndarray, limits: Limits) -> Detections:
    """A box counts once for each class (D, K) that scores enough."""
    rows, classes = np.nonzero(scores >= limits.score)
    values = scores[rows, classes]
    best = np.argsort(-values, kind="stable")[:CANDIDATES]
    rows, classes, values = rows[best], classes[best], values[best]
    kept = suppress(corners[rows], values, classes, limits.overlap, limits.many)
    return Detections(corners[rows[kept]], values[kept], classes[kept])


PRESETS: Mapping[str, Callable[[Arrays, Size, Limits], list[Detections]]] = {
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "ssd": _ssd,
    "corners": _corners,
    "torchvision": _torchvision,
}
