"""A locked run is carried out again, and nothing else in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.errors import UsageError, VerificationError

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def lock(tiny: Path, labelled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.lock"
    graphopt.optimize(
        tiny, "scale", calibration=labelled, latency=False, lock=path, output=tmp_path / "a.onnx"
    )
    return path


def test_the_same_run_is_carried_out_again(lock: Path, tiny: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.onnx"
    flags: dict[str, Any] = {"calibration": labelled, "latency": False, "lock": lock, "locked": True}
    before = lock.read_bytes()
    graphopt.optimize(tiny, "scale", output=out, **flags)
    assert out.read_bytes() == (tmp_path / "a.onnx").read_bytes() and lock.read_bytes() == before
    with np.load(labelled) as arrays:  # the same samples, in memory
        graphopt.optimize(tiny, "scale", **{**flags, "calibration": dict(arrays)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"passes": "scale:factor=1.5"}, "the passes differ"),
        ({"passes": "scale,nothing"}, "the passes differ"),
        ({"seed": 1}, "the seed differ"),
        ({"target": "generic"}, "the target differ"),
        ({"calibration": None}, "the calibration samples differ"),
        ({"calibration": "::6"}, "the calibration samples differ"),
        ({"evaluation": ""}, "the evaluation samples differ"),
    ],
)
def test_anything_else_is_refused_before_the_work(
    change: dict[str, Any], says: str, lock: Path, tiny: Path, labelled: Path, tmp_path: Path
) -> None:
    flags: dict[str, Any] = {"passes": "scale", "calibration": labelled, **change}
    for name in ("calibration", "evaluation"):
        if isinstance(change.get(name), str):
            flags[name] = f"{labelled}{change[name]}"
    out = tmp_path / "b.onnx"
    with pytest.raises(UsageError, match=says):
        graphopt.optimize(tiny, latency=False, lock=lock, locked=True, output=out, **flags)
    assert not out.exists()


def test_another_model_or_version_is_refused(lock: Path, tiny: Path, labelled: Path) -> None:
    model = onnx.load(tiny)
    model.doc_string = "other"
    with pytest.raises(UsageError, match="the model differ"):
        graphopt.optimize(model, "scale", calibration=labelled, latency=False, lock=lock, locked=True)
    document = json.loads(lock.read_text())
    document["run"]["versions"]["onnxruntime"] = "0.1"
    lock.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="versions of packages differ"):
        graphopt.optimize(tiny, "scale", calibration=labelled, latency=False, lock=lock, locked=True)


def test_plans_that_come_out_otherwise_write_nothing(
    lock: Path, tiny: Path, labelled: Path, tmp_path: Path
) -> None:
    document = json.loads(lock.read_text())
    document["plan_sha256"] = "0" * 64
    lock.write_text(json.dumps(document))
    out = tmp_path / "b.onnx"
    with pytest.raises(VerificationError, match="planned something else"):
        graphopt.optimize(
            tiny, "scale", calibration=labelled, latency=False, lock=lock, locked=True, output=out
        )
    assert not out.exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"run": 1, "plan_sha256": "", "schema": 1}'])
def test_what_is_no_lock_is_said(content: str, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.lock"
    path.write_text(content)
    with pytest.raises(UsageError, match="is not a lock"):
        graphopt.optimize(tiny, "scale", latency=False, lock=path, locked=True)


def test_locked_needs_a_lock(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--locked needs --lock"):
        graphopt.optimize(tiny, "scale", locked=True)
    with pytest.raises(UsageError, match="cannot be read"):
        graphopt.optimize(tiny, "scale", latency=False, lock=tmp_path / "none.lock", locked=True)
