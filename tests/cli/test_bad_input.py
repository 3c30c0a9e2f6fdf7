"""Every bad input ends in one sentence and its exit code; nothing is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from graphopt.cli import app

pytestmark = pytest.mark.usefixtures("installed")

Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Call the command line, expect a code and no new file; returns stderr."""

    def call(code: int, *arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert app.run([*map(str, arguments)]) == code
        caught = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before
        assert caught.out == ""
        assert "Traceback" not in caught.err
        errors = [line for line in caught.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return caught.err

    return call


@pytest.mark.parametrize("command", ["optimize", "inspect", "evaluate", "compare"])
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.onnx", None, "does not exist"),
        ("empty.onnx", b"", "is empty"),
        ("notes.onnx", b"these are my notes\n" * 20, "not an ONNX model"),
        ("folder", "folder", "folder"),
    ],
)
def test_what_is_no_model(
    fails: Fails, tmp_path: Path, labelled: Path, command: str, name: str, content: object, says: str
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)  # type: ignore[arg-type]
    rest = {"optimize": ["--passes", "nothing"], "evaluate": ["--data", labelled], "compare": [path]}
    err = fails(3, command, path, *rest.get(command, []))
    assert says in err and name in err


def test_a_truncated_model(fails: Fails, tiny: Path) -> None:
    tiny.write_bytes(tiny.read_bytes()[:-40])
    assert "not an ONNX model" in fails(3, "optimize", tiny, "--passes", "nothing")


def test_a_model_the_checker_refuses(fails: Fails, tmp_path: Path, fakes: SimpleNamespace) -> None:
    proto = fakes.build()
    proto.graph.node[1].input[0] = "nowhere"
    onnx.save(proto, tmp_path / "bad.onnx")
    assert "nowhere" in fails(3, "optimize", tmp_path / "bad.onnx", "--passes", "nothing")


def test_an_output_that_is_the_input(fails: Fails, tiny: Path) -> None:
    assert "is the input itself" in fails(7, "optimize", tiny, "--passes", "nothing", "-o", tiny, "--force")


def test_an_output_that_exists(fails: Fails, tiny: Path) -> None:
    tiny.with_name("tiny.opt.onnx").write_bytes(b"mine")
    assert "--force" in fails(7, "optimize", tiny, "--passes", "nothing")


def test_an_output_in_no_folder(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "no" / "out.onnx"
    assert "does not exist" in fails(7, "optimize", tiny, "--passes", "misbehave", "-o", out)
    assert "is a folder" in fails(7, "optimize", tiny, "--passes", "misbehave", "-o", tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_in_a_locked_folder(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "cannot be written" in fails(
        7, "optimize", tiny, "--passes", "misbehave", "-o", locked / "out.onnx"
    )


def test_a_folder_without_write_permission_is_told_before_the_work(
    fails: Fails, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphopt.pipeline.output.os.access", lambda *_: False)
    assert "cannot be written to" in fails(7, "optimize", tiny, "--passes", "misbehave")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "no passes are given"),
        (["--passes", "skale"], "did you mean 'scale'"),
        (["--passes", "scale:faktor=1"], "did you mean 'factor'"),
        (["--passes", "scale:factor=3"], "from 0 to 2"),
        (["--passes", "scale:mode=al"], "all|none"),
        (["--passes", "scale:factor=1:"], "an option is missing"),
        (["--passes", "scale,"], "there is no pass name"),
        (["--passes", "scale{factor=1}"], "prune:macs=0.7"),
        (["--passes", "scale,", "nothing"], "unexpected extra argument"),
        (["--passes", "nothing", "--target", "ort-cpuu"], "ort-cpu"),
        (["--passes", "nothing", "--verify", "none"], "--verify"),
        (["--passes", "nothing", "--shape", "x=1xNx4"], "NAME=1x3x640x640"),
        (["--passes", "nothing", "--shape", "x=1x2x5x5"], "x"),
        (["--passes", "nothing", "--shape", "z=1x2x4x4"], "not an input"),
        (["--passes", "nothing", "--shape", "x=1x2x4x4", "--shape", "x=1x2x4x4"], "twice"),
        (["--passes", "nothing", "--max-drop", "1"], "--evaluation"),
        (["--passes", "nothing", "--max-drop", "-1"], "--max-drop"),
        (["--passes", "nothing", "--tolerance", "0"], "--tolerance"),
        (["--passes", "nothing", "--tolerance", "1", "--verify", "off"], "no meaning"),
        (["--passes", "nothing", "--preprocess", "imagenet"], "nothing to prepare"),
        (["--passes", "nothing", "--quiet", "--verbose"], "contradict"),
        (["--passes", "nothing", "--report", "report.html"], ".json"),
        (["--passes", "nothing", "--seed", "-1"], "--seed"),
        (["--passes", "nothing", "--threads", "0"], "--threads"),
        (["--passes", "nothing", "--plan", "missing.json"], "cannot be read"),
        (["--passes", "nothing", "--recipe", "missing.toml"], "cannot be read"),
        (["--passes", "nothing", "--no-such-flag"], "no-such-flag"),
    ],
)
def test_a_wrong_call(fails: Fails, tiny: Path, flags: list[str], says: str) -> None:
    assert says in fails(2, "optimize", tiny, *flags)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 1}', '{"schema": 1, "model_sha256": "", "passes": [3]}']
)
def test_what_is_no_plan(fails: Fails, tiny: Path, tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    assert "is not a plan file" in fails(2, "optimize", tiny, "--passes", "scale", "--plan", plan)


def test_passes_given_twice(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[[pass]]\nname = "nothing"\n')
    assert "given twice" in fails(2, "optimize", tiny, "--passes", "nothing", "--recipe", recipe)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seed = 'one'", "--seed"),
        ("verify = 'sometimes'", "--verify"),
        ("dry-run = 'yes'", "--dry-run"),
        ("threads = true", "--threads"),
        ("output = 3", "not a path"),
        ("shape = 5", "shape"),
        ("target = 5", "--target"),
    ],
)
def test_a_recipe_with_a_wrong_value(fails: Fails, tiny: Path, tmp_path: Path, line: str, says: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'{line}\n[[pass]]\nname = "nothing"\n')
    assert says in fails(2, "optimize", tiny, "--recipe", recipe)


def test_data_that_does_not_fit(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 2, 9, 9), np.float32))
    fails(3, "optimize", tiny, "--passes", "nothing", "--calibration", tmp_path / "wrong.npz")
    fails(3, "optimize", tiny, "--passes", "nothing", "--calibration", tmp_path / "missing.npz")


def test_an_unknown_command_or_task(fails: Fails, tiny: Path, labelled: Path) -> None:
    assert "optimise" in fails(2, "optimise", tiny)
    assert "classification" in fails(2, "evaluate", tiny, "--data", labelled, "--task", "detection")
    assert "there is no pass" in fails(2, "passes", "no-such-pass")
