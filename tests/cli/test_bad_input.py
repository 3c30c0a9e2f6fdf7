"""Every bad input ends in one sentence and its exit code; nothing is written."""

from __future__ import annotations

import hashlib
import json
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
    monkeypatch.setattr("graphopt.pipeline.run.output.os.access", lambda *_: False)
    assert "cannot be written to" in fails(7, "optimize", tiny, "--passes", "misbehave")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
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
        (["--passes", "nothing", "--preprocess", "imagenet"], "no effect"),
        (["--passes", "nothing", "--quiet", "--verbose"], "contradict"),
        (["--passes", "nothing", "--report", "report.txt"], ".json or .html"),
        (["--passes", "nothing", "--seed", "-1"], "--seed"),
        (["--passes", "nothing", "--threads", "0"], "--threads"),
        (["--passes", "nothing", "--plan", "missing.json"], "cannot be read"),
        (["--passes", "nothing", "--recipe", "missing.toml"], "cannot be read"),
        (["--passes", "nothing", "--no-such-flag"], "no-such-flag"),
        (["--passes", ""], "empty spec"),
        (["--passes", "scale:factor=$F"], "factor=$F is not allowed"),
        (["--passes", "scale:factor=nan"], "factor=nan is not allowed"),
        (["--passes", "nothing", "--passes", "scale"], "--passes is given 2 times"),
        (["--passes", "nothing", "--seed", "1", "--seed", "1"], "--seed is given 2 times"),
        (["--passes", "nothing", "-o", "-"], "stdout carries the report"),
        (["--passes", "nothing", "-o", ""], "not a path"),
        (["--passes", "nothing", "--report", ""], "not a path"),
        (["--passes", "nothing", "--cache", ""], "not a path"),
        (["--passes", "nothing", "--plan-out", "plan.onnx"], ".json"),
        (["--passes", "nothing", "--report", "r.json", "--plan-out", "r.json"], "name the same file"),
        (["--passes", "nothing", "--threads", "99999999999"], "--threads"),
        (["--passes", "nothing", "--tolerance", "nan"], "--tolerance"),
        (["--passes", "nothing", "--tolerance", "inf"], "--tolerance"),
        (["--passes", "nothing", "--max-drop", "nan"], "--max-drop"),
        (["--passes", "nothing", "--goal", "speed=0.5"], "--goal takes one of latency, macs, bytes, params"),
        (["--passes", "nothing", "--goal", "macs"], "what fraction to leave"),
        (["--passes", "nothing", "--goal", "macs=1.5"], "what fraction to leave"),
        (["--passes", "nothing", "--goal", "macs=0.5"], "has no pass to reach it"),
        (["--passes", "nothing", "--goal", "latency=0.5", "--no-latency"], "--goal latency needs"),
        (["--passes", "nothing", "--time-limit", "0"], "--time-limit"),
        (["--passes", "auto:x=1"], "auto takes no options"),
        (["--passes", "nothing", "--shape", "x=2x4x4"], "contradicts the model"),
        (["--passes", "nothing", "--shape", "x=0x2x4x4"], "a size of 0"),
        (["--passes", "nothing", "--shape", "x=99999999999999999999x2x4x4"], "sizes go from 1"),
        (["--passes", "nothing", "--provider", "tpu"], "--provider"),
        (["--passes", "nothing", "--custom-ops", "missing.so"], "missing.so cannot be loaded"),
        (
            ["--passes", "nothing", "--custom-ops", "missing.so", "--verify", "off", "--no-latency"],
            "missing.so cannot be loaded",
        ),
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
        ("calibration = 3", "names no samples"),
        ("custom-ops = 3", "neither a text nor a list"),
        ("custom-ops = [3]", "neither a text nor a list"),
        ("report = [3]", "not a path"),
        ("quiet = 1", "quiet"),
        ("max-drop = inf", "--max-drop"),
        ('shape = {x = [1, "a"]}', "not a size"),
        ('shape = {x = "1x2"}', "not a list of sizes"),
        ("shape = {x = 3}", "not a list of sizes"),
        ("colour = 'red'", "no flag 'colour'"),
        ("colour = ", "not TOML"),
    ],
)
def test_a_recipe_with_a_wrong_value(fails: Fails, tiny: Path, tmp_path: Path, line: str, says: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'{line}\n[[pass]]\nname = "nothing"\n')
    assert says in fails(2, "optimize", tiny, "--recipe", recipe)


def test_a_recipe_whose_passes_are_no_text(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("passes = 3\n")
    assert "passes are a text" in fails(2, "optimize", tiny, "--recipe", recipe)


def test_a_plan_for_another_model_names_both(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    own = hashlib.sha256(tiny.read_bytes()).hexdigest()
    plan = _plan(tmp_path, "0" * 64, {"name": "scale", "index": 1, "items": []})
    err = fails(2, "optimize", tiny, "--passes", "scale", "--plan", plan)
    assert "0" * 64 in err and own in err


@pytest.mark.parametrize("index", [-1, 0, 7])
def test_a_plan_for_a_pass_that_is_not_there(fails: Fails, tiny: Path, tmp_path: Path, index: int) -> None:
    own = hashlib.sha256(tiny.read_bytes()).hexdigest()
    plan = _plan(tmp_path, own, {"name": "scale", "index": index, "items": []})
    assert f"as pass {index}" in fails(2, "optimize", tiny, "--passes", "scale", "--plan", plan)


def test_a_plan_edited_into_nonsense(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = hashlib.sha256(tiny.read_bytes()).hexdigest()
    plan = _plan(tmp_path, own, {"name": "scale", "index": 1, "items": [{"node": "ghost", "factor": 2}]})
    assert app.run(["optimize", str(tiny), "--passes", "scale", "--plan", str(plan)]) == 4
    err = capsys.readouterr().err
    assert "the plan that was given for scale cannot be carried out" in err and "ghost" in err
    assert not tiny.with_name("tiny.opt.onnx").exists()


def _plan(folder: Path, sha256: str, *passes: dict[str, object]) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps({"schema": 1, "model_sha256": sha256, "passes": passes}))
    return path


def test_names_that_no_file_can_have(fails: Fails, tiny: Path) -> None:
    long = "n" * 300 + ".onnx"
    assert "too long" in fails(7, "optimize", tiny, "--passes", "misbehave", "-o", tiny.with_name(long))
    assert "too long" in fails(3, "inspect", tiny.with_name(long))
    assert "empty" in fails(2, "inspect", "")


def test_an_output_that_is_no_regular_file(fails: Fails, tiny: Path) -> None:
    assert "not a regular file" in fails(
        7, "optimize", tiny, "--passes", "misbehave", "-o", os.devnull, "--force"
    )


def test_json_files_that_cannot_be_written(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for flag in ("--report", "--plan-out"):
        wrong = {"no/such.json": "does not exist", "folder.json": "is a folder"}
        for name, says in wrong.items():
            assert says in fails(7, "optimize", tiny, "--passes", "misbehave", flag, tmp_path / name)


def test_a_cache_that_is_a_file(fails: Fails, tiny: Path) -> None:
    assert "cannot be made" in fails(7, "optimize", tiny, "--passes", "misbehave", "--cache", tiny)


def test_cuda_where_there_is_none(fails: Fails, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    flags = ("--provider", "cuda", "--verify", "structure", "--no-latency")
    assert "no cuda provider" in fails(2, "optimize", tiny, "--passes", "nothing", *flags)


def test_memory_that_does_not_suffice(fails: Fails, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError("Unable to allocate 4 TiB")

    monkeypatch.setattr("graphopt.pipeline.run.run.machine", no_memory)
    assert "4 TiB" in fails(3, "optimize", tiny, "--passes", "nothing", "--dry-run")


def test_data_that_does_not_fit(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 2, 9, 9), np.float32))
    fails(3, "optimize", tiny, "--passes", "nothing", "--calibration", tmp_path / "wrong.npz")
    fails(3, "optimize", tiny, "--passes", "nothing", "--calibration", tmp_path / "missing.npz")


def test_an_unknown_command_or_task(fails: Fails, tiny: Path, labelled: Path) -> None:
    assert "optimise" in fails(2, "optimise", tiny)
    assert "classification" in fails(2, "evaluate", tiny, "--data", labelled, "--task", "tracking")
    assert "there is no pass" in fails(2, "passes", "no-such-pass")
