"""Run model files in a backend, in a process of its own: one that crashes or hangs stops nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.backends.answer import Answer, Kernels, RunResult
from graphopt.backends.environment import Installed

WORKERS = Path(__file__).with_name("workers")
TIMEOUT = 300.0  # time: seconds for converting and running one model once
_LINES = 3  # shown: of what a worker wrote before it died


@dataclass(frozen=True)
class Entry:
    """A model file to run: on which inputs, for which outputs, with which files beside it, by kind."""

    path: Path
    feeds: Mapping[str, np.ndarray]
    outputs: Sequence[str]
    companions: Mapping[str, Path] = field(default_factory=dict)


def run(
    where: Installed,
    entries: Sequence[Entry],
    *,
    threads: int = 1,
    seconds: float = 0.0,
    timeout: float = TIMEOUT,
) -> RunResult:
    """Run each model once, and all that run in turn for about ``seconds``.

    A model that the backend refuses, crashes on, or does not answer about within ``timeout`` seconds has the
    reason in ``Answer.error``; the others are answered about all the same.
    """
    together = _attempt(where, entries, threads, seconds, timeout)
    if isinstance(together, RunResult):
        return together
    if len(entries) == 1:
        return RunResult(where.version, (Answer(error=together),))
    answers = [run(where, [entry], threads=threads, timeout=timeout).answers[0] for entry in entries]
    healthy = [index for index, answer in enumerate(answers) if answer.outputs is not None]
    if seconds and len(healthy) > 0:
        again = _attempt(where, [entries[index] for index in healthy], threads, seconds, timeout)
        if isinstance(again, RunResult):
            for index, answer in zip(healthy, again.answers, strict=True):
                answers[index] = answer
    return RunResult(where.version, tuple(answers))


def _attempt(
    where: Installed, entries: Sequence[Entry], threads: int, seconds: float, timeout: float
) -> RunResult | str:
    """The answers of one process, or why it gave none."""
    with tempfile.TemporaryDirectory(prefix="graphopt-backend-") as name:
        folder = Path(name)
        request = {
            "models": [_written(entry, folder / str(i)) for i, entry in enumerate(entries)],
            "threads": threads,
            "seconds": seconds,
            "answer": str(folder / "answer.json"),
            "environment": str(where.folder or ""),
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        failure = _run_worker(where, folder, timeout * len(entries) + seconds)
        try:
            document = json.loads((folder / "answer.json").read_text("utf-8"))
        except (OSError, ValueError):
            return failure or "it ended without an answer"
        return RunResult(document["version"], tuple(map(_answer, document["models"])))


def _run_worker(where: Installed, folder: Path, timeout: float) -> str:
    """Run the worker; why it failed, or an empty text."""
    command = [str(where.program), str(WORKERS / where.backend.worker), str(folder / "request.json")]
    with (folder / "output.txt").open("w+b") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**_surroundings(), **where.backend.variables},
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"it did not answer within {timeout:.0f} s"
        finally:
            _end(process)
    return "" if code == 0 else f"{_ending(code)}{_last_lines(folder / 'output.txt')}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a worker with whatever converters it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _surroundings() -> dict[str, str]:
    """The environment of a worker: ours without what would make its Python import our packages."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _ending(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}"


def _last_lines(path: Path) -> str:
    lines = [line.strip() for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return f": {' | '.join(lines[-_LINES:])[-400:]}" if lines else ""


def _written(entry: Entry, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    feeds = [
        _array(folder / f"input_{i}.bin", name, value) for i, (name, value) in enumerate(entry.feeds.items())
    ]
    companions = {kind: str(path.absolute()) for kind, path in entry.companions.items()}
    return {
        "path": str(entry.path.absolute()),
        "folder": str(folder),
        "feeds": feeds,
        "outputs": list(entry.outputs),
        "companions": companions,
    }


def _array(file: Path, name: str, value: np.ndarray) -> dict[str, Any]:
    value = np.ascontiguousarray(value)
    value.tofile(file)
    return {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "file": str(file)}


def _answer(document: Mapping[str, Any]) -> Answer:
    if "error" in document:
        return Answer(error=" ".join(str(document["error"]).split())[:600])
    outputs = {
        entry["name"]: np.fromfile(entry["file"], dtype=entry["dtype"]).reshape(entry["shape"])
        for entry in document["outputs"]
    }
    kernels = document.get("kernels")
    times = tuple(document.get("milliseconds") or ())
    return Answer(outputs, "", Kernels(**kernels) if kernels else None, times)
