"""The training environment: where it is, what is said when it cannot be, and that nothing else is deleted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphopt.cli import app
from graphopt.errors import OutputError, PassError, UsageError
from graphopt.passes.distill.backends.ort import OrtBackend
from graphopt.passes.distill.backends.torch import TorchBackend
from graphopt.passes.distill.trainer import environment as trainer


def test_the_place_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHOPT_TRAINER", str(tmp_path / "own"))
    assert trainer.trainer_path() == tmp_path / "own"
    monkeypatch.delenv("GRAPHOPT_TRAINER")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert trainer.trainer_path() == tmp_path / "data" / "graphopt" / "trainer-1.19.2"


def test_without_a_trainer_the_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHOPT_TRAINER", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="no trainer at") as caught:
        OrtBackend().ready()
    assert caught.value.hint == "graphopt trainer install, or --install-trainer"


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHOPT_TORCH", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="torch is not installed") as caught:
        TorchBackend().ready()
    assert "graphopt[torch]" in caught.value.hint


def test_a_machine_without_a_wheel_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(UsageError, match="has no wheel for Linux on aarch64") as caught:
        trainer.install(tmp_path / "t")
    assert "backend=torch" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_python_without_a_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.sys, "version_info", _Version(3, 14))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UsageError, match=r"needs Python 3.10 to 3.12, and this is 3.14"):
        trainer._interpreter(False)
    assert trainer._interpreter(True) == "3.11"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert trainer._interpreter(False) == "/usr/bin/python3.11"


class _Version(tuple):  # type: ignore[type-arg]
    major, minor = 3, 14

    def __new__(cls, *parts: int) -> _Version:
        return super().__new__(cls, parts)


def fails_to_install(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Any, **_: Any) -> Any:
        return subprocess.CompletedProcess(command, int("install" in command), "", text)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            "ERROR: No matching distribution found for onnxruntime-training-cpu==1.19.2",
            UsageError,
            "no wheel",
        ),
        ("onnxruntime-training-cpu has no wheels with a matching Python ABI tag", UsageError, "no wheel"),
        ("Could not connect to the index", PassError, "could not be installed"),
    ],
)
def test_what_the_installer_says(
    said: str, kind: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails_to_install(said, monkeypatch)
    with pytest.raises(kind, match=told):
        trainer.install(tmp_path / "t", using="pip")
    assert not list(tmp_path.iterdir())


def test_a_trainer_that_is_there_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        trainer.install(tmp_path)


def test_nothing_but_a_trainer_is_replaced_or_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a trainer, so it is not replaced"):
        trainer.install(tmp_path, force=True)
    with pytest.raises(UsageError, match="no trainer at"):
        trainer.remove(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        trainer.install(tmp_path / "file" / "t")
    assert "GRAPHOPT_TRAINER" in caught.value.hint


def environment(path: Path, program: str) -> Path:
    """A trainer whose interpreter is a program of ours."""
    python = trainer.python_of(path)
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\n{program}")
    python.chmod(0o755)
    (path / trainer.MARKER).write_text("{}")
    return path


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="runs a script as a program")


@needs_scripts
def test_a_broken_trainer_is_told_with_what_it_said(tmp_path: Path) -> None:
    path = environment(tmp_path / "t", "import sys; sys.exit('libm is not what it was')")
    with pytest.raises(PassError, match=r"the trainer is broken.*libm is not what it was") as caught:
        trainer.status(path)
    assert caught.value.hint == "graphopt trainer install --force"


@needs_scripts
def test_another_version_is_not_taken(tmp_path: Path) -> None:
    program = """
import json
print(json.dumps({"event": "hello", "versions": {"onnxruntime": "1.18.0"}, "python": "3.11"}))
print(json.dumps({"event": "done", "best_loss": 0.0, "first_loss": 1.0}))
"""
    path = environment(tmp_path / "t", program)
    with pytest.raises(PassError, match=r"has onnxruntime-training 1.18.0, and 1.19.2 is needed"):
        trainer.status(path)


def test_the_commands_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "trainer" in shown
    assert "distill" in shown
    for arguments in (["trainer", "--help"], ["trainer", "install", "--help"], ["distill", "--help"]):
        assert app.run(arguments) == 0
    assert "--epochs" in capsys.readouterr().out


def test_status_and_remove_without_a_trainer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for action in ("status", "remove"):
        assert app.run(["trainer", action, "--path", str(tmp_path / "t")]) == 2
        assert "there is no trainer at" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("using", ["uv", "pip"])
def test_installing_for_real(using: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if using == "uv" and trainer._find_uv() is None:
        pytest.skip("uv is not installed")
    path = tmp_path / "trainer"
    found = trainer.install(path, using=using)
    assert found.bytes < 200e6
    assert found.versions["onnxruntime"] == trainer.VERSION
    assert app.run(["trainer", "status", "--path", str(path), "--json"]) == 0
    assert '"onnxruntime": "1.19.2"' in capsys.readouterr().out
    assert app.run(["trainer", "remove", "--path", str(path)]) == 0
    assert not path.exists()
