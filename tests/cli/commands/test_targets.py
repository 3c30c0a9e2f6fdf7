"""``graphopt targets`` says what there is, what was run and what is installed; ``compare`` runs a backend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphopt import targets
from graphopt.backends import environment
from graphopt.cli import app
from tests.passes.quant.small import residual_file


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.PLACE, str(tmp_path / "backends"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert app.run([*arguments]) == code
    captured = capsys.readouterr()
    return " ".join((captured.err if code else captured.out).split())


def test_all_targets_are_listed_with_what_runs_them(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(said(capsys, "targets", "--json"))["targets"]
    assert [entry["name"] for entry in document] == list(targets.names())
    by_name = {entry["name"]: entry for entry in document}
    assert by_name["qnn"]["checked"] == "rules" and by_name["qnn"]["backends"] == []
    (mnn,) = by_name["mnn"]["backends"]
    assert mnn["installed"] is None and set(mnn["run"]) == {"version", "date"}
    (ort,) = by_name["ort-cpu"]["backends"]
    assert ort["installed"]  # it is beside graphopt
    text = said(capsys, "targets")
    assert "never:" in text and "--install" in text


def test_one_target_is_shown_with_the_way_to_the_device(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = said(capsys, "targets", "ncnn")
    assert "float ONNX and scales" in text and "pnnx {stem}.onnx" in text
    own = tmp_path / "own.toml"
    own.write_text('base = "ncnn"\nsummary = "mine"\n')
    assert "own: mine" in said(capsys, "targets", str(own))
    assert "did you mean 'openvino'" in said(capsys, "targets", "opnvino", code=2)
    assert "did you mean 'openvino'" in said(capsys, "targets", "--install", "openvin", code=2)


def test_every_run_backend_has_a_last_run() -> None:
    from graphopt.targets.runs import last_runs

    named = {name for target in targets.names() for name in targets.load(target).backends}
    assert named <= set(last_runs())


def test_compare_runs_both_files_in_a_backend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(residual_file(tmp_path))
    document = json.loads(
        said(capsys, "compare", path, path, "--no-latency", "--backend", "onnxruntime", "--json")
    )["backend"]
    assert document["name"] == "onnxruntime" and document["apart_db"] is None  # infinite: equal
    assert document["kernels"] == [[0, 3], [0, 3]] and min(document["milliseconds"]) > 0
    text = said(capsys, "compare", path, path, "--no-latency", "--backend", "reference")
    assert "in ONNX's reference evaluator" in text and "unknown" in text


def test_a_backend_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(residual_file(tmp_path))
    text = said(capsys, "compare", path, path, "--backend", "mnn", code=2)
    assert text == "error: MNN is not installed hint: graphopt targets --install mnn"
    text = said(capsys, "compare", path, path, "--backend", "mnn=/no/python", code=2)
    assert "there is no program /no/python to run MNN with" in text
