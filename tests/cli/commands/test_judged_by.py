"""A detector, a segmenter and a user's own function in optimize and sensitivity: goal, table and report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.cli import app
from tests.cli.commands.test_evaluate import detector, save, scenes, segmenter
from tests.cli.conftest import Fails
from tests.corpus._net import Net

__all__ = ["scenes"]

QUICK = ("--no-latency", "--verify", "structure", "--force")


def optimized(
    capsys: pytest.CaptureFixture[str], code: int, *arguments: object
) -> tuple[dict[str, Any], str]:
    """The report of a run, and what it printed."""
    report = Path(str(arguments[0])).with_suffix(".json")
    assert app.run(["optimize", *map(str, arguments), *QUICK, "--report", str(report)]) == code
    return json.loads(report.read_text()), capsys.readouterr().out


def test_a_detector(capsys: pytest.CaptureFixture[str], installed: Any, scenes: Path, tmp_path: Path) -> None:
    model = detector(tmp_path / "detector.onnx")
    data = ("--evaluation", f"{scenes}#images", "--task", "detection", "--max-drop", "1")
    labels = ("--labels", f"{scenes}#boxes")
    report, out = optimized(capsys, 0, model, "--passes", "drop-identity", *data, *labels)
    assert report["before"]["metrics"]["mAP"] == report["after"]["metrics"]["mAP"] == pytest.approx(1.0)
    assert report["agreement"]["boxes"] == 1.0 and "mAP" in out
    assert report["paired"]["mAP"]["difference"] == 0.0
    report, _ = optimized(capsys, 0, model, "--passes", "drop-identity", *data)
    assert report["before"]["metrics"] == {} and report["agreement"]["boxes"] == 1.0


def test_a_segmenter_whose_masks_get_worse(
    capsys: pytest.CaptureFixture[str], installed: Any, scenes: Path, tmp_path: Path
) -> None:
    model = segmenter(tmp_path / "segmenter.onnx")
    data = ("--evaluation", f"{scenes}#images", "--task", "segmentation", "--max-drop", "1")
    none = ("--passes", "scale:factor=0")
    for labels in ((), ("--labels", f"{scenes}#masks")):
        report, out = optimized(capsys, 6, model, *none, *data, *labels)
        assert "points, more than 1" in report["missed"][0] and "GOAL MISSED" in out
    assert report["after"]["metrics"]["mIoU"] < report["before"]["metrics"]["mIoU"] == 1.0


OWN = """
def reds(outputs, labels):
    (scores,) = outputs.values()
    return scores[:, 0].mean(axis=(1, 2)) if labels is None else -abs(scores.sum(axis=(1, 2, 3)) - labels)
"""


def test_a_function_of_the_user(
    capsys: pytest.CaptureFixture[str], installed: Any, scenes: Path, tmp_path: Path
) -> None:
    model, file = segmenter(tmp_path / "segmenter.onnx"), tmp_path / "own.py"
    file.write_text(OWN)
    np.save(tmp_path / "sums.npy", np.full(4, 64.0))
    data = ("--evaluation", f"{scenes}#images", "--metric", f"{file}:reds", "--max-drop", "10")
    half = ("--passes", "scale:factor=0.5")
    report, out = optimized(capsys, 6, model, *half, *data)
    assert report["before"]["metrics"] == {"reds": 0.5} and report["after"]["metrics"] == {"reds": 0.25}
    assert "dropped by 25.00 points" in report["missed"][0] and "-25.00 points" in out
    report, _ = optimized(capsys, 6, model, *half, *data, "--labels", tmp_path / "sums.npy")
    assert report["before"]["metrics"] == {"reds": 0.0} and report["after"]["metrics"] == {"reds": -32.0}


def test_a_goal_that_cannot_be_judged_is_refused_before_the_work(
    fails: Fails, installed: Any, scenes: Path, tmp_path: Path
) -> None:
    model = segmenter(tmp_path / "model.onnx")
    (tmp_path / "own.py").write_text("def none(outputs, labels):\n    return []\n")
    run = ("optimize", model, "--passes", "misbehave:how=raise", *QUICK)
    data = ("--evaluation", f"{scenes}#images")
    goal = (*run, *data, "--max-drop", "1")
    assert "--max-drop cannot be judged" in fails(2, *goal)
    assert "--max-drop cannot be judged" in fails(2, *goal, "--task", "generic")
    assert "--task detection cannot be judged" in fails(2, *goal, "--task", "detection")
    assert "of no known detector" in fails(2, *run, *data, "--task", "detection")
    assert "returned 0 values" in fails(2, *goal, "--metric", f"{tmp_path / 'own.py'}:none")
    assert "there is no file" in fails(2, *goal, "--metric", "none.py:none")
    assert "need --evaluation" in fails(2, *run, "--task", "detection")
    assert "give one of the two" in fails(2, *run, *data, "--task", "text", "--metric", "own.py:none")


def test_a_recipe_says_how_to_judge(
    capsys: pytest.CaptureFixture[str], installed: Any, scenes: Path, tmp_path: Path
) -> None:
    model, recipe = segmenter(tmp_path / "model.onnx"), tmp_path / "recipe.toml"
    recipe.write_text('task = "segmentation"\nmax-drop = 1\npasses = "drop-identity"\n')
    report, _ = optimized(capsys, 0, model, "--recipe", recipe, "--evaluation", f"{scenes}#images")
    assert report["agreement"]["masks"] == 1.0


def test_sensitivity_by_task_and_by_function(
    capsys: pytest.CaptureFixture[str], scenes: Path, tmp_path: Path
) -> None:
    net, file = Net(0), tmp_path / "own.py"
    file.write_text(OWN)
    mixed = np.random.default_rng(0).standard_normal((32, 3)).astype(np.float32)
    inner = net.op("Relu", net.op("Conv", net.input("x", ("N", 3, 8, 8)), mixed[:, :, None, None]))
    back = np.linalg.pinv(np.maximum(mixed, 0)).astype(np.float32)
    model = save(net, net.op("Conv", inner, back[:, :, None, None]), tmp_path / "model.onnx")
    run = ("sensitivity", model, "--pass", "prune", "--calibration", f"{scenes}#images", "--json", "--cache")
    by_task = ("--task", "segmentation", "--labels", f"{scenes}#masks")
    for judged_by, name, value in ((by_task, "mIoU", 1.0), (("--metric", f"{file}:reds"), "reds", 0.5)):
        assert app.run([*map(str, (*run, "off", "--jobs", "1", *judged_by))]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["metric_name"], found["metric"]) == (name, pytest.approx(value, abs=1e-4))
        assert found["points"] and all(p["metric"] is not None for p in found["points"])
        assert {p["top1"] for p in found["points"]} == {None}
