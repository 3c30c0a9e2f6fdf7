"""Backends run in processes of their own: answers come back exact, and a failure is an answer too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from graphopt.backends import Backend, Entry, Installed, run, runner

WORKER = """
import os, sys, time
sys.path.insert(0, {workers!r})
from worker import layers, serve

class Model:
    def __init__(self, job):
        text = open(job.path).read()
        if text == "crash":
            os.abort()
        if text == "hang":
            time.sleep(60)
        if text == "refuse":
            raise ValueError("no such operator\\nin this build")
        if text == "vanish":
            sys.exit(0)
        self.factor, self.names = float(text), job.outputs

    def run(self, feeds):
        print("chatter on stdout")
        return {{name: self.factor * feeds["x"] for name in self.names}}

    def kernels(self):
        return layers({{"Conv u8": 2, "Conv f32": 1, "Add f32": 4}}, ("Conv",), (" u8",))

serve("7.8", Model)
"""
FEEDS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    (tmp_path / "run_toy.py").write_text(WORKER.format(workers=str(runner.WORKERS)))
    monkeypatch.setattr(runner, "WORKERS", tmp_path)
    toy = Backend("toy", "Toy", "toy", "run_toy.py", ("toy",))
    return Installed(toy, "7.8", Path(sys.executable), None)


def entry(folder: Path, text: str) -> Entry:
    path = folder / f"{text} and 'quotes'; touch x.onnx"
    path.write_text(text)
    return Entry(path, FEEDS, ["a/b", "y"])


def test_outputs_kernels_and_times_come_back(where: Installed, tmp_path: Path) -> None:
    result = run(where, [entry(tmp_path, "2"), entry(tmp_path, "3")], seconds=0.01)
    assert result.version == "7.8"
    for answer, factor in zip(result.answers, (2, 3), strict=True):
        assert answer.outputs is not None and list(answer.outputs) == ["a/b", "y"]
        np.testing.assert_array_equal(answer.outputs["y"], factor * FEEDS["x"])
        assert answer.kernels is not None and (answer.kernels.integer, answer.kernels.layers) == (2, 3)
        assert answer.median_ms is not None and len(answer.milliseconds) >= 10
    assert result.ratio(0, 0) == 1.0


def test_a_refusal_is_one_line_and_others_go_on(where: Installed, tmp_path: Path) -> None:
    refused, fine = run(where, [entry(tmp_path, "refuse"), entry(tmp_path, "2")]).answers
    assert refused.outputs is None and refused.error == "ValueError: no such operator in this build"
    assert fine.outputs is not None and not fine.error


def test_a_crash_is_told_apart_from_the_models_beside_it(where: Installed, tmp_path: Path) -> None:
    crashed, fine = run(where, [entry(tmp_path, "crash"), entry(tmp_path, "2")], seconds=0.01).answers
    assert "SIGABRT" in crashed.error
    assert fine.outputs is not None and fine.milliseconds


def test_what_hangs_is_stopped(where: Installed, tmp_path: Path) -> None:
    (answer,) = run(where, [entry(tmp_path, "hang")], timeout=1.0).answers
    assert answer.error == "it did not answer within 1 s"


def test_a_worker_that_ends_without_an_answer_is_an_error(where: Installed, tmp_path: Path) -> None:
    (answer,) = run(where, [entry(tmp_path, "vanish")]).answers
    assert answer.error == "it ended without an answer"
    assert run(where, [entry(tmp_path, "2")]).ratio(0, 0) is None  # nothing was timed
