"""Segmentation: mean IoU with masks, agreement of masks with a reference; also text maps and matting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.data.ground_truth.truth import IGNORED, load_masks
from graphopt.errors import ModelError
from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.detection import image_size
from graphopt.metrics.significance import Paired, bootstrap

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth


class Segmentation(Metric):
    """Compares class maps pixel by pixel.

    An output (N, K, H, W) names the class with the highest score; one with K = 1 is a map of one class,
    present where it is above ``threshold`` (by default 0.5 for probabilities, 0 for anything else); whole
    numbers (N, H, W) are classes themselves.  Maps smaller than the image are enlarged by nearest pixel.
    """

    name: ClassVar[str] = "segmentation"
    main, main_agreement = "mIoU", "masks"
    labels: ClassVar[str] = "masks"
    options: ClassVar[tuple[str, ...]] = ("threshold",)

    def __init__(self, threshold: float | None = None) -> None:
        self._threshold = threshold
        self._after, self._before, self._same = Overlaps(), Overlaps(), Overlaps()

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """``truth`` has a mask (H, W) for each row of the sample, 255 for pixels that do not count."""
        name = class_map(outputs)
        size = image_size(sample)
        classes = self._classes(outputs[name], size)
        others = None if reference is None else self._classes(reference[name], size)
        for row, mine in enumerate(classes):
            if others is not None:
                self._same.update(others[row], mine)
            if truth is None:
                continue
            if truth[row].shape != mine.shape:
                raise ModelError(
                    f"the mask of a sample is {truth[row].shape}, but its image is {mine.shape}",
                    hint="give masks of the size of the images",
                )
            self._after.update(truth[row], mine)
            if others is not None:
                self._before.update(truth[row], others[row])

    def outcome(self, seed: int | None = 0) -> Outcome:
        """``mIoU`` over the classes that occur and ``pixels``, the share of right ones; both are 0..1."""
        agreement = self._same.metrics()
        agreement = {"masks": agreement["mIoU"], "pixels": agreement["pixels"]} if agreement else {}
        paired: dict[str, Paired] = {}
        if self._before.images and seed is not None:
            paired["mIoU"] = bootstrap(self._change, self._after.images, seed)[0]
        details = {"classes": self._after.by_class()} if self._after.images else {}
        return Outcome(self._after.metrics(), self._before.metrics(), agreement, paired, details)

    def truth(self, spec: Any, samples: Samples) -> Truth:
        """Masks: a folder of images, or an array."""
        return load_masks(spec, samples)

    def _change(self, weights: np.ndarray) -> np.ndarray:
        return (self._after.mean_iou(weights) - self._before.mean_iou(weights))[:, None]

    def _classes(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if values.dtype.kind in "iub":
            classes = values.reshape(len(values), *values.shape[-2:]).astype(np.int64)
        elif values.shape[1] > 1:
            classes = values.argmax(axis=1)
        else:
            classes = (values[:, 0] > self._limit(values)).astype(np.int64)
        return enlarged(classes, size)

    def _limit(self, values: np.ndarray) -> float:
        if self._threshold is None:  # decided once, since a later sample may have no negative value
            self._threshold = 0.5 if values.min() >= 0.0 and values.max() <= 1.0 else 0.0
        return self._threshold


class Overlaps:
    """Pixels that two maps share, class by class and image by image."""

    def __init__(self) -> None:
        self._shared: list[np.ndarray] = []
        self._union: list[np.ndarray] = []
        self._right = self._pixels = 0

    @property
    def images(self) -> int:
        """How many images were taken."""
        return len(self._shared)

    def update(self, wanted: np.ndarray, classes: np.ndarray) -> None:
        """Take two maps (H, W); pixels where ``wanted`` is 255 do not count."""
        judged = wanted != IGNORED
        wanted, classes = wanted[judged].astype(np.int64), classes[judged].astype(np.int64)
        count = int(max(wanted.max(initial=0), classes.max(initial=0))) + 1
        shared = np.bincount(wanted[wanted == classes], minlength=count)
        union = np.bincount(wanted, minlength=count) + np.bincount(classes, minlength=count) - shared
        self._shared.append(shared)
        self._union.append(union)
        self._right += int(shared.sum())
        self._pixels += len(wanted)

    def mean_iou(self, weights: np.ndarray) -> np.ndarray:
        """The mean over classes for each row of ``weights`` (R, images)."""
        shared, union = weights @ _table(self._shared), weights @ _table(self._union)
        ratio = np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(np.nanmean(ratio, axis=1))

    def metrics(self) -> dict[str, float]:
        """``mIoU`` and ``pixels``; nothing before the first image."""
        if not self._pixels:
            return {}
        return {
            "mIoU": float(self.mean_iou(np.ones((1, self.images)))[0]),
            "pixels": self._right / self._pixels,
        }

    def by_class(self) -> dict[str, float]:
        """IoU of each class that occurs."""
        shared, union = _table(self._shared).sum(axis=0), _table(self._union).sum(axis=0)
        return {str(n): float(shared[n] / union[n]) for n in np.flatnonzero(union).tolist()}


def class_map(outputs: Outputs) -> str:
    """The output that holds a class for each pixel: the largest of rank 4 (scores) or 3 (whole numbers)."""
    maps = {
        name: value
        for name, value in outputs.items()
        if isinstance(value, np.ndarray)
        and ((value.ndim == 4 and value.dtype.kind == "f") or (value.ndim >= 3 and value.dtype.kind in "iub"))
    }
    if not maps:
        listed = ", ".join(f"{name} {getattr(value, 'shape', '?')}" for name, value in outputs.items())
        raise ModelError(f"the outputs ({listed}) hold no map of classes", hint="choose another --task")
    return max(maps, key=lambda name: maps[name][0, 0].size)


def enlarged(classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (N, h, w) at (height, width) of the image by nearest pixel."""
    if classes.shape[1:] == size:
        return classes
    rows, columns = (
        ((np.arange(want) + 0.5) * have / want).astype(np.int64)
        for want, have in zip(size, classes.shape[1:], strict=True)
    )
    return classes[:, rows][:, :, columns]


def _table(rows: list[np.ndarray]) -> np.ndarray:
    """Counts of different numbers of classes as one array (images, classes)."""
    made = np.zeros((len(rows), max(map(len, rows), default=0)))
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return made
