"""The worker as a process: what it may see, how it is stopped, and what its failures become."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.errors import DataError, GraphoptError, OutputError, PassError
from graphopt.passes.distill.backends.base import Job
from graphopt.passes.distill.backends.worker import WorkerBackend

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs scripts as programs")
DOCUMENT = {"parameters": ["w"], "statistics": [], "threads": 1}
DONE = """
np_done = {"event": "done", "reason": "finished", "best_epoch": 1, "first_loss": 1.0, "best_loss": 0.5,
           "history": [], "images_per_second": 1.0, "images_per_cpu_second": 1.0,
           "updates": 1, "peak_bytes": 1}
"""

Program = Callable[[str], WorkerBackend]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A backend whose interpreter is a program of ours, which runs in the job folder."""

    def make(source: str) -> WorkerBackend:
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{DONE}\n{source}")
        path.chmod(0o755)

        class Own(WorkerBackend):
            engine = "own"
            python = path  # type: ignore[assignment]

        return Own()

    return make


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "job"
    folder.mkdir()
    np.savez(folder / "best.npz", **{"0": np.ones(3, np.float32)})
    return Job(folder, DOCUMENT)


def tuned(backend: WorkerBackend, job: Job, hear: Callable[[Any], None] = lambda event: None) -> Any:
    return backend.tune(job, hear)


def test_events_and_values_arrive(program: Program, job: Job) -> None:
    heard: list[str] = []
    backend = program("print('native noise'); print(json.dumps(np_done))")
    found = tuned(backend, job, lambda event: heard.append(event["event"]))
    assert heard == ["done"]
    np.testing.assert_array_equal(found.values["w"], 1.0)
    assert (found.reason, found.best_loss) == ("finished", 0.5)


def test_it_sees_the_job_folder_and_little_else(
    program: Program, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    source = "np_done['history'] = [dict(os.environ), os.getcwd(), sys.argv[1:4]]\nprint(json.dumps(np_done))"
    surroundings, folder, arguments = tuned(program(source), job).history
    assert "AWS_SECRET_ACCESS_KEY" not in surroundings
    assert "PYTHONPATH" not in surroundings
    assert Path(str(folder)) == job.folder.resolve()
    assert list(arguments) == ["-I", "-B", "-c"]


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("os.kill(os.getpid(), 9)", PassError, "ended with code -9"),
        ("sys.exit('no memory left')", PassError, "no memory left"),
        ("pass", PassError, "without a result"),
        (
            "print(json.dumps({'event': 'error', 'code': 'disk', 'message': 'No space left', 'node': ''}))",
            OutputError,
            "No space left",
        ),
        (
            "print(json.dumps({'event': 'error', 'code': 'data', 'message': 'no part', 'node': ''}))",
            DataError,
            "no part",
        ),
        (
            "print(json.dumps(dict(event='error', code='no_gradient', message='none for Foo', node='here')))",
            PassError,
            r"none for Foo \(node here\)",
        ),
    ],
)
def test_failures(source: str, kind: type[GraphoptError], told: str, program: Program, job: Job) -> None:
    with pytest.raises(kind, match=told):
        tuned(program(source), job)


def test_values_that_are_no_numbers_are_refused(program: Program, job: Job) -> None:
    np.savez(job.folder / "best.npz", **{"0": np.full(3, np.nan)})
    with pytest.raises(PassError, match="values of w that are not numbers"):
        tuned(program("print(json.dumps(np_done))"), job)


def test_pickles_are_refused(program: Program, job: Job) -> None:
    np.savez(job.folder / "best.npz", **{"0": np.array([print], dtype=object)}, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        tuned(program("print(json.dumps(np_done))"), job)


WAITS = """
print(json.dumps({"event": "progress", "epoch": 0, "done": 1, "total": 9, "loss": 1.0,
                  "images_per_second": 1.0, "seconds_left": 9.0}), flush=True)
if sys.stdin.readline().strip() == "stop":
    np_done["reason"] = "stopped"
print(json.dumps(np_done), flush=True)
"""


def test_an_interrupt_keeps_the_best_so_far(program: Program, job: Job) -> None:
    def hear(event: Any) -> None:
        if event["event"] == "progress":
            raise KeyboardInterrupt

    assert tuned(program(WAITS), job, hear).reason == "stopped"


def test_a_second_interrupt_ends_it(program: Program, job: Job) -> None:
    def hear(event: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(program(WAITS), job, hear)


def test_an_interpreter_that_is_not_there(job: Job, tmp_path: Path) -> None:
    class Gone(WorkerBackend):
        python = tmp_path / "gone"  # type: ignore[assignment]

    with pytest.raises(PassError, match="does not start"):
        tuned(Gone(), job)


def test_the_job_is_plain_json(program: Program, job: Job) -> None:
    tuned(program("print(json.dumps(np_done))"), job)
    document = json.loads((job.folder / "job.json").read_text())
    assert document == {**DOCUMENT, "engine": "own", "task": "tune"}
