"""graphopt evaluate on a detector, a segmenter and a model of no task, as users call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.cli import app
from tests.cli.conftest import Fails
from tests.corpus._net import Net


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Four images 3x8x8 whose brightest channel changes in the middle, with boxes and masks of that."""
    images = np.zeros((4, 3, 8, 8), np.float32)
    images[:, 0, :, :4] = 1.0
    images[:, 2, :, 4:] = 1.0
    masks = np.broadcast_to(np.where(np.arange(8) < 4, 0, 2), (4, 8, 8)).astype(np.uint8)
    boxes = np.broadcast_to(np.asarray([[1, 1, 1, 5, 7], [-1, 0, 0, 0, 0]], np.float32), (4, 2, 5))
    path = tmp_path / "scenes.npz"
    np.savez(path, images=images, masks=masks, boxes=boxes)
    return path


def save(net: Net, output: str, path: Path) -> Path:
    onnx.save(net.model(output), path)
    return path


def segmenter(path: Path, blur: float = 0.0) -> Path:
    """Hands the image out as scores, its last channel weakened by ``blur``."""
    net = Net(0)
    weights = np.diag([1.0, 1.0, 1.0 - blur]).astype(np.float32)[:, :, None, None]
    weights[0, 2] = blur
    return save(net, net.op("Conv", net.input("x", ("N", 3, 8, 8)), weights), path)


def detector(path: Path, shift: float = 0.0) -> Path:
    """Always the same answer in YOLOv8's form: one box of class 1, beside empty ones."""
    net = Net(0)
    answer = np.zeros((1, 6, 9), np.float32)
    answer[0, :4, 0] = 3 + shift, 4, 4, 6
    answer[0, 5, 0] = 0.9
    zero = net.op("Mul", net.op("ReduceMean", net.input("x", ("N", 3, 8, 8)), keepdims=0), net.array(0.0))
    return save(net, net.op("Add", zero, answer), path)


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert app.run(["evaluate", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_segmentation(capsys: pytest.CaptureFixture[str], scenes: Path, tmp_path: Path) -> None:
    good, bad = segmenter(tmp_path / "good.onnx"), segmenter(tmp_path / "bad.onnx", 0.9)
    data = ["--data", f"{scenes}#images", "--labels", f"{scenes}#masks", "--task", "segmentation"]
    assert answer(capsys, good, *data)["metrics"] == {"mIoU": 1.0, "pixels": 1.0}
    found = answer(capsys, bad, *data, "--reference", good)
    assert found["metrics"]["pixels"] == found["agreement"]["pixels"] == 0.5
    assert found["paired"]["mIoU"]["high"] < 0
    assert app.run(["evaluate", str(bad), *data, "--reference", str(good)]) == 0
    assert "worse" in capsys.readouterr().out


def test_detection(capsys: pytest.CaptureFixture[str], scenes: Path, tmp_path: Path) -> None:
    good, off = detector(tmp_path / "good.onnx"), detector(tmp_path / "off.onnx", 1.4)
    data = ["--data", f"{scenes}#images", "--task", "detection"]
    labels = ["--labels", f"{scenes}#boxes"]
    assert answer(capsys, good, *data, *labels)["metrics"]["mAP"] == pytest.approx(1.0)
    found = answer(capsys, off, *data, *labels, "--reference", good, "--decode", "yolov8")
    assert found["metrics"]["AP50"] == pytest.approx(0.0)
    assert found["agreement"]["boxes"] == 0.0
    assert answer(capsys, good, *data, "--reference", good)["agreement"]["boxes"] == 1.0


def test_a_model_of_no_task_is_compared_output_by_output(
    capsys: pytest.CaptureFixture[str], scenes: Path, tmp_path: Path
) -> None:
    good, bad = segmenter(tmp_path / "good.onnx"), segmenter(tmp_path / "bad.onnx", 0.5)
    found = answer(capsys, bad, "--data", f"{scenes}#images", "--reference", good)
    assert found["task"] == "generic"
    (output,) = found["details"]["outputs"].values()
    assert output["max_abs"] == pytest.approx(0.5)
    assert 0.8 < output["cosine"] < 0.95


def test_wrong_calls(fails: Fails, scenes: Path, tmp_path: Path) -> None:
    model = segmenter(tmp_path / "model.onnx")
    data = ["evaluate", model, "--data", f"{scenes}#images"]
    assert "--labels belongs to" in fails(2, *data, "--labels", f"{scenes}#masks")
    assert "--decode belongs to" in fails(2, *data, "--decode", "ssd")
    assert "yolov9" in fails(2, *data, "--task", "detection", "--decode", "yolov9", "--reference", model)
    assert "there are no boxes" in fails(3, *data, "--task", "detection")
    assert "there are no masks" in fails(3, *data, "--task", "segmentation")
    assert "of no known detector" in fails(3, *data, "--task", "detection", "--reference", model)
    assert "has the arrays" in fails(3, *data, "--task", "segmentation", "--labels", f"{scenes}#none")
