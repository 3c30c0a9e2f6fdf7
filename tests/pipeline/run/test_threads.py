"""What a run writes does not depend on how many samples are answered at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphopt
from graphopt.runtime import in_order as module

ROOT = Path(__file__).resolve().parents[3]
DATA = f"{ROOT}/models/fashion_samples.npz#calibration::4"
PREPROCESS = "scale=0.00392156862745098;mean=0.2860;std=0.3530"


def test_the_same_bytes_with_one_thread_and_with_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH", -1.0)  # every run is worth a thread
    used: list[int] = []
    beside = module._ahead
    monkeypatch.setattr(module, "_ahead", lambda *given: used.append(given[2]) or beside(*given))
    made = []
    for threads in (1, 3):
        graphopt.optimize(
            ROOT / "models/fashion_residual.onnx",
            "prune:ratio=0.25,quant:measure=false",
            output=tmp_path / f"{threads}.onnx",
            calibration=DATA,
            preprocess=PREPROCESS,
            threads=threads,
            latency=False,
        )
        made.append((tmp_path / f"{threads}.onnx").read_bytes())
    assert made[0] == made[1]
    assert set(used) == {3}  # the second run did answer several at a time, the first none
