"""Every preset reads the same boxes, suppression is greedy, and agreement counts pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.data import Sample
from graphopt.data.ground_truth.truth import Boxes
from graphopt.errors import ModelError, UsageError
from graphopt.metrics import Detection, Limits
from graphopt.metrics.boxes import BLOCK, overlap, suppress
from graphopt.metrics.detection_outputs import decode, guess

SIZE = (60, 100)
CORNERS = np.asarray([[10, 10, 30, 40], [50, 5, 90, 45], [11, 11, 31, 41], [0, 0, 5, 5.0]])
SCORES = np.asarray([[0.9, 0.02, 0.0], [0.1, 0.0, 0.8], [0.7, 0.0, 0.0], [0.0, 0.0, 0.0]])


def centred() -> np.ndarray:
    return np.concatenate([(CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]], axis=1)


def outputs(preset: str) -> dict[str, Any]:
    """The same four boxes as each kind of detector writes them."""
    pad = np.zeros((40, 4))
    boxes, scores = np.concatenate([centred(), pad]), np.concatenate([SCORES, np.zeros((40, 3))])
    if preset == "yolov8":
        return {"out": np.concatenate([boxes, scores], axis=1).T[None]}
    if preset == "yolov5":
        return {"out": np.concatenate([boxes, np.ones((44, 1)), scores], axis=1)[None]}
    if preset == "ssd":
        background = np.concatenate([1 - SCORES.sum(axis=1, keepdims=True), SCORES], axis=1)
        return {"boxes": (CORNERS / [100, 60, 100, 60])[None], "scores": background[None]}
    kept = [0, 1]
    if preset == "corners":
        best, classes = SCORES[kept].max(axis=1), SCORES[kept].argmax(axis=1)
        return {"out": np.concatenate([CORNERS[kept], best[:, None], classes[:, None]], axis=1)[None]}
    return {"boxes": CORNERS[kept], "labels": np.asarray([1, 3]), "scores": np.asarray([0.9, 0.8])}


def sample() -> Sample:
    return Sample({"x": np.zeros((1, 3, *SIZE), np.float32)}, None, None, (0,), (None,))


@pytest.mark.parametrize("preset", ["yolov8", "yolov5", "ssd", "corners", "torchvision"])
def test_every_preset_reads_the_same_boxes(preset: str) -> None:
    answers = outputs(preset)
    assert guess(answers) == preset
    (found,) = decode(preset, answers, SIZE, Limits(score=0.3, overlap=0.5))
    np.testing.assert_allclose(found.corners, CORNERS[:2], atol=1e-9)
    np.testing.assert_allclose(found.scores, [0.9, 0.8], atol=1e-9)
    np.testing.assert_array_equal(found.classes, [0, 2])


def test_a_box_counts_once_for_each_class() -> None:
    (found,) = decode("yolov8", outputs("yolov8"), SIZE, Limits(score=0.01, overlap=0.5))
    assert sorted(found.classes.tolist()) == [0, 0, 1, 2]  # the second box also scores 0.1 for class 0


def test_what_no_preset_fits_is_said() -> None:
    with pytest.raises(ModelError, match="of no known detector"):
        guess({"out": np.zeros((1, 10))})
    with pytest.raises(ModelError, match="not of the form ssd"):
        decode("ssd", outputs("yolov8"), SIZE, Limits())
    with pytest.raises(UsageError, match="yolov9"):
        decode("yolov9", outputs("yolov8"), SIZE, Limits())


@pytest.mark.parametrize("count", [60, BLOCK + 100])
def test_suppression_equals_the_plain_loop(count: int) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (count, 2))
    corners = np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], axis=1)
    corners[::20, 2:] = corners[::20, :2]  # without area they overlap nothing, themselves included
    scores, classes = rng.random(count).round(2), rng.integers(0, 2, count)
    shared = overlap(corners, corners)
    kept: list[int] = []
    for box in np.argsort(-scores, kind="stable").tolist():
        if all(shared[box, other] <= 0.4 for other in kept if classes[other] == classes[box]):
            kept.append(box)
    assert suppress(corners, scores, classes, 0.4, count).tolist() == kept
    assert suppress(corners, scores, classes, 0.4, 5).tolist() == kept[:5]
    assert suppress(corners[:0], scores[:0], classes[:0], 0.4, 5).tolist() == []


def test_overlap_by_hand() -> None:
    a, b = np.asarray([[0, 0, 10, 10.0]]), np.asarray([[5, 0, 15, 10.0], [20, 20, 30, 30], [0, 0, 100, 10]])
    np.testing.assert_allclose(overlap(a, b), [[1 / 3, 0, 0.1]])
    np.testing.assert_allclose(overlap(a, b, np.asarray([True, True, True])), [[0.5, 0, 1]])


def test_agreement_counts_boxes_with_a_partner() -> None:
    judge = Detection("yolov8")
    judge.update(outputs("yolov8"), outputs("yolov8"), sample(), None)
    assert judge.outcome().agreement == {"boxes": 1.0, "missing": 0.0, "overlap": 1.0}
    other = {"out": outputs("yolov8")["out"].copy()}
    other["out"][0, 4:, 1] = 0.0  # the second box is gone
    judge = Detection("yolov8")
    judge.update(other, outputs("yolov8"), sample(), None)
    found = judge.outcome().agreement
    assert found["boxes"] == pytest.approx(2 * 1 / 3)
    assert found["missing"] == pytest.approx(0.5)
    assert found["overlap"] == pytest.approx(1.0)


def test_precision_and_its_change_with_truth() -> None:
    truth = [Boxes.of([[0, 10, 10, 30, 40], [2, 50, 5, 90, 45]])]
    judge = Detection()
    worse = {"out": outputs("yolov8")["out"].copy()}
    worse["out"][0, 4:, 1] = 0.0
    for _ in range(8):
        judge.update(worse, outputs("yolov8"), sample(), truth)
    found = judge.outcome()
    assert found.reference_metrics["mAP"] == pytest.approx(1.0)
    assert found.metrics["mAP"] == pytest.approx(0.5)
    assert found.paired["mAP"].difference == pytest.approx(-0.5)
    assert not found.paired["mAP"].is_noise
    assert found.details == {"decode": "yolov8"}
