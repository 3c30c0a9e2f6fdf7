"""``graphopt optimize`` from outside: what it writes, what it prints, and with which code it ends."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from graphopt.cli import app

pytestmark = pytest.mark.usefixtures("installed")


class Call(SimpleNamespace):
    """One finished call: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def optimize(tiny: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Call]:
    """Optimize the tiny classifier with some flags."""

    def call(*flags: object, model: Path = tiny) -> Call:
        code = app.run(["optimize", str(model), *map(str, flags)])
        return Call(code=code, **capsys.readouterr()._asdict())

    return call


def report_of(optimize: Callable[..., Call], folder: Path, *flags: object) -> dict[str, Any]:
    path = folder / "report.json"
    call = optimize("--report", path, "--no-latency", "--force", *flags)
    assert call.code == 0, call.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_with_nothing_but_passes_given(optimize: Callable[..., Call], tiny: Path) -> None:
    before = tiny.read_bytes()
    call = optimize("--passes", "drop-identity")
    assert call.code == 0, call.err
    written = tiny.with_name("tiny.opt.onnx")
    assert [n.op_type for n in onnx.load(written).graph.node].count("Identity") == 0
    assert tiny.read_bytes() == before
    lines = call.out.split("Run it:")[0].splitlines()
    assert f"written: {written}" in lines  # whole, to be copied
    assert max(len(line) for line in lines if str(written) not in line) <= 80
    assert "\x1b" not in call.out


def test_the_last_lines_run(optimize: Callable[..., Call]) -> None:
    lines = optimize("--passes", "drop-identity").out.rstrip().splitlines()[-3:]
    space: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in lines), space)
    assert space["outputs"][0].shape == (1, 7)


def test_the_report_has_the_fields_scripts_rely_on(
    optimize: Callable[..., Call], tiny: Path, tmp_path: Path, labelled: Path
) -> None:
    out = tmp_path / "out.onnx"
    report = report_of(
        optimize, tmp_path, "--passes", "scale:factor=1.5", "-o", out, "--evaluation", labelled, "--seed", 5
    )
    assert set(report) >= {
        *("schema", "graphopt", "command", "input", "output", "model_sha256", "output_sha256", "target"),
        *("seed", "shapes", "preprocess", "machine", "calibration", "before", "after", "agreement", "passes"),
        "warnings",
    }
    assert report["schema"] == 1
    assert report["seed"] == 5
    assert report["input"] == str(tiny)
    assert report["output"] == str(out)
    assert report["model_sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert report["output_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert report["shapes"] == {"x": [1, 2, 4, 4]}
    assert set(report["machine"]) == {"cpu", "isa", "threads", "onnxruntime"}
    assert set(report["calibration"]) == {
        *("source", "samples", "labels_used", "training_used", "shared_with_evaluation")
    }
    for side in ("before", "after"):
        assert set(report[side]) == {
            "nodes",
            "constants",
            "parameters",
            "macs",
            "bytes",
            "latency_ms",
            "metrics",
        }
        assert 0 <= report[side]["metrics"]["top1"] <= 1
    assert report["before"]["nodes"] == 6
    assert report["after"]["nodes"] == 5
    assert report["after"]["bytes"] == out.stat().st_size
    assert set(report["agreement"]) == {"top1", "snr_db", "samples"}
    added, scale = report["passes"]
    assert added["added"] and not scale["added"]
    assert scale["options"] == {"factor": 1.5, "mode": "all", "only": [], "limit": None}
    assert scale["changes"] == [{"node": "conv", "what": "weights times 1.5"}]
    assert scale["plan"] == [{"node": "conv", "factor": 1.5}]
    assert added["max_abs_diff"] == 0.0
    assert isinstance(scale["snr_db"], float)


def test_the_same_run_gives_the_same_bytes(optimize: Callable[..., Call], tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        assert optimize("--passes", "nothing,scale", "-o", tmp_path / name, "--no-latency").code == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_synthetic_calibration_is_said_everywhere(optimize: Callable[..., Call], tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    report = report_of(optimize, tmp_path, "--passes", "nothing,drop-identity", "-o", out)
    assert report["calibration"]["source"] == "synthetic"
    assert report["calibration"]["samples"] == 64
    assert any("synthetic" in text for text in report["warnings"])
    (prop,) = onnx.load(out).metadata_props
    assert (prop.key, prop.value) == ("graphopt.calibration", "synthetic, 64 samples, seed 0")


def test_real_calibration_is_named(optimize: Callable[..., Call], tmp_path: Path, labelled: Path) -> None:
    flags = ("--passes", "nothing,drop-identity", "--calibration", f"{labelled}::8", "--evaluation", labelled)
    report = report_of(optimize, tmp_path, *flags)
    assert report["calibration"]["samples"] == 8
    assert report["calibration"]["shared_with_evaluation"] == 8
    assert not any("synthetic" in text for text in report["warnings"])


def test_calibration_that_no_pass_looks_at_is_said(optimize: Callable[..., Call], labelled: Path) -> None:
    call = optimize("--passes", "drop-identity", "--calibration", labelled)
    assert "no pass used the calibration samples" in call.err


def test_a_run_that_changed_nothing_says_so_loudly(optimize: Callable[..., Call], tiny: Path) -> None:
    call = optimize("--passes", "nothing")
    assert call.code == 0
    assert "NO PASS CHANGED ANYTHING" in call.out
    assert "1 x there is nothing to do" in call.out
    assert tiny.with_name("tiny.opt.onnx").exists()


def test_a_run_that_changed_nothing_fails_with_strict(optimize: Callable[..., Call], tiny: Path) -> None:
    call = optimize("--passes", "nothing", "--strict")
    assert call.code == 6
    assert "no pass changed anything" in call.err
    assert not tiny.with_name("tiny.opt.onnx").exists()


def test_a_missed_goal_is_written_and_said(optimize: Callable[..., Call], tiny: Path, labelled: Path) -> None:
    flags = ("--evaluation", labelled, "--max-drop", "0")
    call = optimize(*flags, "--passes", "drop-identity,misbehave:how=goal")
    assert call.code == 6
    assert "0.3 was the goal" in call.err
    written = onnx.load(tiny.with_name("tiny.opt.onnx"))
    assert {p.key for p in written.metadata_props} == {"graphopt.missed"}


def test_a_missed_goal_with_strict_writes_nothing(optimize: Callable[..., Call], tiny: Path) -> None:
    call = optimize("--passes", "drop-identity,misbehave:how=goal", "--strict")
    assert call.code == 6
    assert not tiny.with_name("tiny.opt.onnx").exists()


def test_max_drop_counts_points(
    optimize: Callable[..., Call], tmp_path: Path, fakes: SimpleNamespace
) -> None:
    session = onnxruntime.InferenceSession(fakes.build().SerializeToString())
    x = np.random.default_rng(3).standard_normal((40, 2, 4, 4)).astype(np.float32)
    labels = [int(session.run(None, {"x": one[None]})[0].argmax()) for one in x]
    np.savez(tmp_path / "own.npz", x=x, labels=labels)  # the model is always right; no bias: it often is not
    flags = ("--evaluation", tmp_path / "own.npz", "--no-latency", "--verify", "structure", "--force")
    lie = ("--passes", "lie:factor=-3.0", *flags)
    assert optimize(*lie, "--max-drop", "0").code == 6
    assert optimize(*lie, "--max-drop", "100").code == 0


def test_a_dry_run_writes_no_model_but_a_plan_on_request(
    optimize: Callable[..., Call], tiny: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    call = optimize("--passes", "scale:factor=1.5", "--dry-run", "--plan-out", plan)
    assert call.code == 0
    assert "nothing was written" in call.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.json", "tiny.onnx"]
    document = json.loads(plan.read_text())
    assert document["model_sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert document["passes"] == [{"name": "scale", "index": 1, "items": [{"node": "conv", "factor": 1.5}]}]
    document["passes"][0]["items"][0]["factor"] = 0.5
    plan.write_text(json.dumps(document))
    report = report_of(optimize, tmp_path, "--passes", "scale:factor=1.5", "--plan", plan)
    assert report["passes"][1]["changes"] == [{"node": "conv", "what": "weights times 0.5"}]


def test_a_plan_for_another_model_is_refused_with_both_hashes(
    optimize: Callable[..., Call], tiny: Path, tmp_path: Path, fakes: SimpleNamespace
) -> None:
    plan, other = tmp_path / "plan.json", tmp_path / "other.onnx"
    onnx.save(fakes.build(seed=1), other)
    assert optimize("--passes", "scale", "--dry-run", "--plan-out", plan).code == 0
    call = optimize("--passes", "scale", "--plan", plan, model=other)
    assert call.code == 2
    for path in (tiny, other):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in call.err


def test_as_written_adds_nothing_and_adding_is_announced(
    optimize: Callable[..., Call], tmp_path: Path
) -> None:
    assert "drop-identity is added" in optimize("--passes", "scale").err
    report = report_of(optimize, tmp_path, "--passes", "scale", "--as-written")
    assert [entry["name"] for entry in report["passes"]] == ["scale"]


def test_a_recipe_sets_flags_and_the_command_line_wins(optimize: Callable[..., Call], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'seed = 3\nlatency = false\nas-written = true\n[[loop]]\nsteps = 2\npasses = ["scale:factor=0.25"]\n'
    )
    report = report_of(optimize, tmp_path, "--recipe", recipe)
    assert report["seed"] == 3
    assert [entry["options"]["factor"] for entry in report["passes"]] == [0.5, 0.25]
    assert report_of(optimize, tmp_path, "--recipe", recipe, "--seed", 0)["seed"] == 0


def test_dynamic_sizes_stay_dynamic_unless_asked(
    optimize: Callable[..., Call], tmp_path: Path, fakes: SimpleNamespace
) -> None:
    model, out = tmp_path / "dynamic.onnx", tmp_path / "out.onnx"
    onnx.save(fakes.build("N", side="S"), model)

    def dims() -> list[list[int | str]]:
        graph = onnx.load(out).graph
        ports = [*graph.input, *graph.output]
        return [[d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim] for p in ports]

    flags = ("--passes", "drop-identity", "-o", out, "--no-latency", "--force")
    call = optimize(*flags, model=model)
    assert "dynamic sizes set to" in call.err
    assert dims() == [["N", 2, "S", "S"], ["N", 7]]
    assert optimize(*flags, "--shape", "x=3x2x8x8", "--fix-shape", model=model).code == 0
    assert dims() == [[3, 2, 8, 8], [3, 7]]


def test_quiet_says_nothing_on_stderr(optimize: Callable[..., Call]) -> None:
    call = optimize("--passes", "scale", "--quiet")
    assert call.err == ""
    assert "scale" in call.out


def test_verbose_lists_changes_and_skips(optimize: Callable[..., Call]) -> None:
    out = optimize("--passes", "nothing,drop-identity", "--verbose").out
    assert "copy: removed" in out
    assert "conv stays: there is nothing to do" in out


def test_dump_keeps_the_steps(optimize: Callable[..., Call], tmp_path: Path) -> None:
    assert optimize("--passes", "scale", "--dump", tmp_path / "steps").code == 0
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == [
        "01-drop-identity.onnx",
        "02-scale.onnx",
    ]


def test_a_failing_pass_leaves_a_folder_that_shows_it(optimize: Callable[..., Call], tiny: Path) -> None:
    call = optimize("--passes", "drop-identity,misbehave")
    assert call.code == 4
    assert "misbehave failed" in call.err and "Traceback" not in call.err
    folder = tiny.with_name("tiny.opt.onnx.failed-misbehave")
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "README.txt"}
    assert not tiny.with_name("tiny.opt.onnx").exists()


def test_a_lie_is_found_and_nothing_is_written(optimize: Callable[..., Call], tiny: Path) -> None:
    call = optimize("--passes", "lie")
    assert call.code == 5
    assert "after lie output y moved by" in call.err
    assert not tiny.with_name("tiny.opt.onnx").exists()


def test_debug_shows_the_traceback(optimize: Callable[..., Call]) -> None:
    assert "Traceback" in optimize("--passes", "misbehave", "--debug").err


def test_ctrl_c_leaves_nothing_behind(optimize: Callable[..., Call], tmp_path: Path) -> None:
    call = optimize("--passes", "misbehave:how=interrupt")
    assert call.code == 130
    assert "Traceback" not in call.err
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]


def test_ctrl_c_while_measuring_leaves_nothing_behind(
    optimize: Callable[..., Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphopt.pipeline.results.measure.paired_latency", interrupt)
    assert optimize("--passes", "drop-identity").code == 130
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]


def test_a_full_disk_is_an_output_error(
    optimize: Callable[..., Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphopt import ir

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ir.Model, "write", full)
    call = optimize("--passes", "drop-identity")
    assert call.code == 7
    assert "No space left on device" in call.err
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]


def test_our_own_bug_asks_to_be_reported(
    optimize: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("graphopt.pipeline.run.run.machine", broken)
    call = optimize("--passes", "drop-identity")
    assert call.code == 1
    assert "please report" in call.err and "Traceback" not in call.err
