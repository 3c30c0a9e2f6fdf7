"""``graphopt distill`` and the Python function behind it, with a fake trainer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphopt import ir
from graphopt.cli import app
from graphopt.errors import UsageError
from graphopt.passes.distill import distill
from tests.passes.distill.conftest import FakeTrainer
from tests.passes.distill.nets import CHANNELS, SIDE, classifier, weights_of


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Teacher, student and samples."""
    teacher, student, data = (tmp_path / name for name in ("teacher.onnx", "student.onnx", "data.npz"))
    classifier().save(teacher)
    classifier(noise=0.1).save(student)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((40, CHANNELS, SIDE, SIDE)).astype(np.float32)
    np.savez(data, x=images, labels=rng.integers(0, 3, 40))
    return teacher, student, data


def test_it_writes_beside_the_student(
    fake: FakeTrainer, files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student, data = files
    before = student.read_bytes()
    code = app.run(
        [
            "distill",
            str(teacher),
            str(student),
            "--data",
            str(data),
            "--batch",
            "8",
            "--freeze",
            "last*,first.bias",
        ]
    )
    assert code == 0, capsys.readouterr().err
    assert student.read_bytes() == before
    made = weights_of(ir.load(student.with_suffix(".distilled.onnx")))
    was = weights_of(ir.load(student))
    assert {name for name in was if not np.array_equal(was[name], made[name])} == {
        "first.weight",
        "second.weight",
        "second.bias",
    }
    assert "distill" in capsys.readouterr().out


def test_the_report_says_that_it_trained(
    fake: FakeTrainer, files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    teacher, student, data = files
    report = tmp_path / "report.json"
    arguments = ["distill", str(teacher), str(student), "--data", str(data), "--evaluation", str(data)]
    assert (
        app.run(
            [*arguments, "--batch", "8", "--report", str(report), "--quiet", "-o", str(tmp_path / "o.onnx")]
        )
        == 0
    )
    document = json.loads(report.read_text())
    assert document["calibration"]["training_used"] is True
    assert document["passes"][0]["options"]["batch"] == 8
    assert "top1" in document["after"]["metrics"]


def test_a_student_that_got_no_better_is_not_replaced(
    fake: FakeTrainer, files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.tries = 0
    teacher, student, data = files
    out = tmp_path / "out.onnx"
    arguments = ["distill", str(teacher), str(student), "--data", str(data), "-o", str(out)]
    assert app.run([*arguments, "--strict"]) == 6
    assert not out.exists()
    assert app.run(arguments) == 0
    assert weights_of(ir.load(out)).keys() == weights_of(ir.load(student)).keys()
    for name, value in weights_of(ir.load(out)).items():
        np.testing.assert_array_equal(value, weights_of(ir.load(student))[name])
    assert "CHANGED NOTHING" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--epochs", "none"], 2, "epochs"),
        (["--losses", "z"], 2, "names no output"),
        (["--augment", "blur"], 2, "augment=blur is not allowed"),
        (["--backend", "ort2"], 2, "no trainer 'ort2'"),
    ],
)
def test_wrong_calls(
    arguments: list[str],
    code: int,
    told: str,
    files: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if "--backend" not in arguments:
        request.getfixturevalue("fake")
    teacher, student, data = files
    assert app.run(["distill", str(teacher), str(student), "--data", str(data), *arguments]) == code
    caught = capsys.readouterr()
    assert told in caught.err
    assert "Traceback" not in caught.err
    assert not student.with_suffix(".distilled.onnx").exists()


def test_the_python_function(fake: FakeTrainer, files: tuple[Path, Path, Path]) -> None:
    teacher, student, data = files
    result = distill(teacher, student, data, batch=8, epochs=2, hints=("auto",))
    assert result.report.passes[0].changes
    assert result.report.output is None
    with pytest.raises(UsageError, match="distill has no option 'learning'"):
        distill(teacher, student, data, learning=3)
