"""``graphopt ui``: which model is meant, and wrong calls; the server itself is tested in tests/ui."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from graphopt.cli import app
from graphopt.cli.commands.ui import _model_of
from graphopt.errors import ModelError, UsageError

pytest.importorskip("uvicorn", reason="needs uvicorn: pip install graphopt[ui]")


def test_a_folder_means_its_only_model_and_a_report_the_model_it_is_about(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UsageError, match="holds 0 models"):
        _model_of(folder)
    shutil.copy(tiny, folder / "a.onnx")
    assert _model_of(folder) == folder / "a.onnx"
    shutil.copy(tiny, folder / "b.onnx")
    with pytest.raises(UsageError, match=r"holds 2 models \(a.onnx, b.onnx\)"):
        _model_of(folder)
    report = tmp_path / "run.json"
    assert app.run(["optimize", str(tiny), "-o", str(tmp_path / "o.onnx"), "--passes", "clean", "--quiet",
                    "--report", str(report), "--no-latency"]) == 0  # fmt: skip
    assert _model_of(report) == tiny
    document = json.loads(report.read_text())
    report.write_text(json.dumps({**document, "input": str(tmp_path / "gone.onnx")}))
    with pytest.raises(ModelError, match="does not exist"):
        _model_of(report)


def test_wrong_calls(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for more, code, text in (
            ((str(tmp_path / "gone.onnx"),), 3, "does not exist"),
            ((str(tiny), "--folder", str(tmp_path / "gone")), 2, "is not a folder"),
            ((str(tiny), "--port", str(port)), 2, f"port {port} cannot be used"),
            ((str(tiny), "--port", "70000"), 2, "--port"),
        ):
            assert app.run(["ui", "--no-browser", *more]) == code
            assert text in capsys.readouterr().err
