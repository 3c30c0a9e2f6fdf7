"""Average precision equals that of pycocotools, and follows from its definition when images count more."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from graphopt.data.ground_truth.truth import Boxes
from graphopt.metrics import average_precision
from graphopt.metrics.average_precision import AveragePrecision
from graphopt.metrics.detection_outputs import Detections

Scene = tuple[Detections, Boxes]


def scenes(seed: int, images: int = 12, classes: int = 4, crowds: bool = True) -> list[Scene]:
    """Random items, most of them found a little beside, some twice, with false alarms and equal scores."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        count = int(rng.integers(0, 9))
        corner, size = rng.uniform(0, 80, (count, 2)), rng.uniform(4, 40, (count, 2))
        corners = np.concatenate([corner, corner + size], axis=1).round(1)
        labels = rng.integers(0, classes, count)
        truth = Boxes(corners, labels, rng.random(count) < (0.2 if crowds else 0))
        chosen = rng.integers(0, count, int(rng.integers(0, 2 * count + 1))) if count else np.zeros(0, int)
        near = corners[chosen] + rng.normal(0, 2, (len(chosen), 4)).round(1)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        false = rng.uniform(0, 50, (int(rng.integers(0, 5)), 2))
        found = np.concatenate([near, np.concatenate([false, false + 20], axis=1)])
        guesses = np.concatenate([labels[chosen], rng.integers(0, classes + 1, len(false))])
        scores = rng.random(len(found)).round(1 if seed % 2 else 4)
        made.append((Detections(found, scores, guesses), truth))
    return made


def by_pycocotools(made: list[Scene]) -> tuple[float, float, float]:
    """mAP, AP50 and AP75 of the reference implementation."""
    numbers = sorted({int(n) for found, truth in made for n in (*found.classes, *truth.classes)})
    items, results = [], []
    for image, (found, truth) in enumerate(made, 1):
        for corners, label, crowd in zip(truth.corners, truth.classes, truth.crowd, strict=True):
            box = [*corners[:2], *(corners[2:] - corners[:2])]
            entry = {"id": len(items) + 1, "image_id": image, "category_id": int(label) + 1, "bbox": box}
            items.append({**entry, "area": box[2] * box[3], "iscrowd": int(crowd)})
        for corners, score, label in zip(found.corners, found.scores, found.classes, strict=True):
            box = [*corners[:2], *(corners[2:] - corners[:2])]
            results.append({"image_id": image, "category_id": int(label) + 1, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": image} for image in range(1, len(made) + 1)]
        coco.dataset = {
            "images": images,
            "annotations": items,
            "categories": [{"id": n + 1} for n in numbers],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1]), float(judge.stats[2])


def collected(made: list[Scene]) -> AveragePrecision:
    found = AveragePrecision()
    for answers, truth in made:
        found.update(answers, truth)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_pycocotools(seed: int) -> None:
    made = scenes(seed)
    values = collected(made).precision()
    wanted = by_pycocotools(made)
    np.testing.assert_allclose((values.mean(), values[0], values[5]), wanted, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_weight_is_that_many_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = [(Detections(f.corners, rng.random(len(f.scores)), f.classes), t) for f, t in scenes(seed)]
    weights = rng.integers(0, 3, len(made))
    weights[0] = 1
    repeated = [scene for scene, weight in zip(made, weights, strict=True) for _ in range(weight)]
    found = collected(made).precision(weights.astype(float))
    np.testing.assert_allclose(found, collected(repeated).precision(), atol=1e-9)


def test_many_weights_at_once_give_what_each_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenes(3)
    weights = np.random.default_rng(0).integers(0, 3, (7, len(made))).astype(float)
    weights[2] = 0.0
    found = collected(made)
    wanted = np.stack([found.precision(row) for row in weights])
    assert np.isnan(wanted[2]).all() and np.isfinite(wanted[[0, 1, 3]]).all()
    np.testing.assert_allclose(found.precision(weights), wanted, atol=1e-12)
    monkeypatch.setattr(average_precision, "CELLS", 50)  # a few rows at a time
    np.testing.assert_allclose(found.precision(weights), wanted, atol=1e-12)


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    truth = Boxes.of([[0, 1, 1, 9, 9], [1, 20, 20, 30, 44]])
    right = Detections(truth.corners, np.asarray([0.9, 0.8]), truth.classes)
    none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    np.testing.assert_allclose(collected([(right, truth)]).precision(), np.ones(10))
    np.testing.assert_array_equal(collected([(none, truth)]).precision(), np.zeros(10))
    assert np.isnan(collected([(none, Boxes.of([]))]).precision()).all()
