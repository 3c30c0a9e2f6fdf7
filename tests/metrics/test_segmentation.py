"""IoU by hand, pixels that nobody judges, maps of one class, and maps smaller than the image."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.data import Sample
from graphopt.errors import ModelError
from graphopt.metrics import Segmentation

MASK = np.asarray([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 255], [2, 2, 2, 255]])


def sample(size: tuple[int, int] = (4, 4)) -> Sample:
    return Sample({"x": np.zeros((1, 3, *size), np.float32)}, None, None, (0,), (None,))


def scores(mask: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[np.minimum(mask, classes - 1)], -1, 0)[None]


def test_iou_by_hand() -> None:
    judge = Segmentation()
    found = MASK.copy()
    found[0, 2] = 0  # one of four pixels of class 1 goes to class 0
    judge.update({"map": scores(found)}, {"map": scores(MASK)}, sample(), [MASK])
    outcome = judge.outcome()
    assert outcome.metrics["mIoU"] == pytest.approx((4 / 5 + 3 / 4 + 1) / 3)
    assert outcome.metrics["pixels"] == pytest.approx(13 / 14)
    assert outcome.reference_metrics["mIoU"] == 1.0
    assert outcome.agreement["pixels"] == pytest.approx(15 / 16)
    assert outcome.paired["mIoU"].difference == pytest.approx((4 / 5 + 3 / 4 + 1) / 3 - 1)
    assert outcome.details["classes"]["1"] == pytest.approx(3 / 4)


def test_classes_are_averaged_over_all_images_together() -> None:
    judge = Segmentation()
    zeros, ones = np.zeros((4, 4), np.int64), np.ones((4, 4), np.int64)
    judge.update({"map": scores(zeros)}, None, sample(), [zeros])
    judge.update({"map": scores(zeros)}, None, sample(), [ones])
    assert judge.outcome().metrics["mIoU"] == pytest.approx((16 / 32 + 0) / 2)


@pytest.mark.parametrize(("low", "high", "limit"), [(0.1, 0.9, None), (-3.0, 3.0, None), (0.1, 0.35, 0.3)])
def test_a_map_of_one_class(low: float, high: float, limit: float | None) -> None:
    wanted = (MASK == 1).astype(np.int64)
    values = np.where(wanted == 1, high, low).astype(np.float32)[None, None]
    judge = Segmentation(limit)
    judge.update({"map": values}, None, sample(), [wanted])
    assert judge.outcome().metrics["mIoU"] == 1.0


def test_a_smaller_map_is_enlarged() -> None:
    small = np.asarray([[0, 1], [2, 0]])
    judge = Segmentation()
    judge.update({"map": scores(small)}, None, sample(), [np.kron(small, np.ones((2, 2), np.int64))])
    assert judge.outcome().metrics["mIoU"] == 1.0


def test_whole_numbers_are_classes() -> None:
    judge = Segmentation()
    judge.update({"map": np.minimum(MASK, 2)[None]}, None, sample(), [MASK])
    assert judge.outcome().metrics["mIoU"] == 1.0


def test_what_is_no_map_is_said() -> None:
    with pytest.raises(ModelError, match="no map of classes"):
        Segmentation().update({"scores": np.zeros((1, 10), np.float32)}, None, sample(), None)
    with pytest.raises(ModelError, match="the mask of a sample is"):
        Segmentation().update({"map": scores(MASK)}, None, sample(), [np.zeros((2, 2), np.int64)])
