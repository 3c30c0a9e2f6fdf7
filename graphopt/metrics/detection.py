"""Detection: mean average precision with boxes, agreement with the boxes of a reference without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.data.ground_truth.truth import load_boxes
from graphopt.metrics.average_precision import OVERLAPS, AveragePrecision
from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.boxes import overlap
from graphopt.metrics.detection_outputs import Detections, Limits, decode, guess
from graphopt.metrics.significance import Paired, bootstrap

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth

CONFIDENT = 0.25  # score of a box that users would see
# theory: overlap of boxes that stand for the same item, as in PASCAL VOC (M. Everingham et al., 2010)
SAME = 0.5
RESAMPLES = 200  # time: each one goes over all boxes
METRICS = {"mAP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
assert float(OVERLAPS[5]) == 0.75


class Detection(Metric):
    """Reads boxes by a ``decode`` preset and judges them.

    ``confidence`` is the least score of boxes that are compared with those of the reference.
    """

    name: ClassVar[str] = "detection"
    main, main_agreement = "mAP", "boxes"
    labels: ClassVar[str] = "boxes"
    options: ClassVar[tuple[str, ...]] = ("decode", "confidence")

    def __init__(
        self, decode: str | None = None, limits: Limits | None = None, confidence: float = CONFIDENT
    ) -> None:
        self.preset = decode
        self._limits = limits or Limits()
        self._confident = confidence
        self._precision, self._reference = AveragePrecision(), AveragePrecision()
        self._agreement = BoxAgreement()

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """``truth`` has Boxes for each row of the sample."""
        if self.preset is None:
            self.preset = guess(outputs)
        size = image_size(sample)
        detections = decode(self.preset, outputs, size, self._limits)
        others = None if reference is None else decode(self.preset, reference, size, self._limits)
        for row, mine in enumerate(detections):
            if others is not None:
                self._agreement.update(others[row].above(self._confident), mine.above(self._confident))
            if truth is not None:
                self._precision.update(mine, truth[row])
                if others is not None:
                    self._reference.update(others[row], truth[row])

    def outcome(self, seed: int | None = 0) -> Outcome:
        """``mAP``, ``AP50`` and ``AP75`` are 0..1, as pycocotools gives them over all areas."""
        agreement = self._agreement.result()
        if not self._precision.images:
            return Outcome(agreement=agreement, details={"decode": self.preset})
        after, before = _metrics(self._precision), {}
        paired: dict[str, Paired] = {}
        if self._reference.images:
            before = _metrics(self._reference)
            paired = {} if seed is None else self._paired(seed)
        return Outcome(after, before, agreement, paired, {"decode": self.preset})

    def truth(self, spec: Any, samples: Samples) -> Truth:
        """Boxes: COCO annotations, a folder of YOLO text files, or an array."""
        return load_boxes(spec, samples)

    def _paired(self, seed: int) -> dict[str, Paired]:
        def difference(weights: np.ndarray) -> np.ndarray:
            change = self._precision.precision(weights) - self._reference.precision(weights)
            return np.nan_to_num(
                np.stack([change[:, part].mean(axis=1) for part in METRICS.values()], axis=1)
            )

        intervals = bootstrap(difference, self._precision.images, seed, RESAMPLES)
        return dict(zip(METRICS, intervals, strict=True))


class BoxAgreement:
    """Pairs the boxes of two models, class by class, the best score first."""

    def __init__(self) -> None:
        self._pairs = self._boxes = self._reference = 0
        self._overlap = 0.0

    def update(self, reference: Detections, detections: Detections) -> None:
        """Take the confident boxes of both for one image."""
        self._boxes += len(detections.scores)
        self._reference += len(reference.scores)
        shared = overlap(detections.corners, reference.corners)
        shared[detections.classes[:, None] != reference.classes[None]] = 0.0
        for box in np.argsort(-detections.scores, kind="stable").tolist():
            best = int(shared[box].argmax()) if shared.shape[1] else -1
            if best >= 0 and shared[box, best] >= SAME:
                self._pairs += 1
                self._overlap += float(shared[box, best])
                shared[:, best] = 0.0

    def result(self) -> dict[str, float]:
        """``boxes``: share of both models' boxes that have a partner; ``overlap``: mean IoU of the pairs."""
        total = self._boxes + self._reference
        if not total:
            return {}
        rates = {"boxes": 2 * self._pairs / total, "missing": 1 - self._pairs / max(self._reference, 1)}
        if self._pairs:
            rates["overlap"] = self._overlap / self._pairs
        return rates


def image_size(sample: Sample) -> tuple[int, int]:
    """(height, width) of the image among the feeds: that of its placement, else of the first NCHW feed."""
    place = next((place for place in sample.placements if place is not None), None)
    if place is not None:
        return place.feed
    shape = next((feed.shape for feed in sample.feeds.values() if feed.ndim == 4), (1, 1, 1, 1))
    nhwc = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    return (shape[1], shape[2]) if nhwc else (shape[2], shape[3])


def _metrics(precision: AveragePrecision) -> dict[str, float]:
    values = precision.precision()
    return {name: float(values[part].mean()) for name, part in METRICS.items()}
