"""A trainer in a process of its own, run by the interpreter of an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from graphopt.errors import DataError, GraphoptError, OutputError, PassError

from .base import Job, OnEvent, Tuned

ROOM = Path(__file__).resolve().parents[1]
START = f"import sys; sys.path.append({str(ROOM)!r}); sys.argv[0] = 'worker'; "
START += "from worker.main import main; sys.exit(main())"
KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL")  # of the environment
LOG = "worker.log"
LOG_TAIL = 400  # shown: characters of it in a message
DETAILS = ("images_per_second", "images_per_cpu_second", "updates", "peak_bytes")
PATIENCE = 60.0  # time: seconds to end after being asked to


class Worker:
    """One run of the worker in a job folder."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        self._process: subprocess.Popen[str] | None = None
        self._told_to_stop = False

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Start it and yield what it says until it ends; raises the error that it tells of."""
        with (self._folder / LOG).open("wb") as log:
            self._process = self._start(log)
            try:
                for line in self._lines():
                    event = _event(line)
                    if event is None:
                        continue
                    if event["event"] == "error":
                        raise _failure(event)
                    yield event
                self._process.wait()
            finally:
                self._end()
        if self._process.returncode:
            raise PassError(f"the trainer ended with code {self._process.returncode}: {self.tail()}")

    def _lines(self) -> Iterator[str]:
        assert self._process is not None and self._process.stdout is not None
        while True:
            try:
                line = self._process.stdout.readline()
            except KeyboardInterrupt:
                self.interrupt()
                continue
            if not line:
                return
            yield line

    def interrupt(self) -> None:
        """Ask it to finish with the best so far; at the second time raise KeyboardInterrupt."""
        if self._told_to_stop:
            raise KeyboardInterrupt
        self._told_to_stop = True
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and its last events are still to be read
            self._process.stdin.write("stop\n")
            self._process.stdin.flush()

    def tail(self) -> str:
        """The end of what it wrote to its log."""
        text = (self._folder / LOG).read_text(encoding="utf-8", errors="replace")
        return " ".join(text[-LOG_TAIL:].split()) or "it left no message"

    def _start(self, log: IO[bytes]) -> subprocess.Popen[str]:
        threads = json.loads((self._folder / "job.json").read_text(encoding="utf-8")).get("threads", 1)
        surroundings = {name: os.environ[name] for name in KEPT if name in os.environ}
        surroundings |= {"OMP_NUM_THREADS": str(threads), "PYTHONIOENCODING": "utf-8"}
        try:
            return subprocess.Popen(
                [str(self._python), "-I", "-B", "-c", START],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=surroundings,
                start_new_session=sys.platform != "win32",  # so that Ctrl-C reaches graphopt alone
            )
        except OSError as error:
            raise PassError(
                f"the trainer does not start: {self._python}: {error.strerror or error}",
                hint="graphopt trainer install --force",
            ) from error

    def _end(self) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and nothing is left to be said to it
            process.stdin.close()
        try:
            process.wait(PATIENCE if process.poll() is None and sys.exc_info()[0] is None else 0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class WorkerBackend(ABC):
    """Trains with the engine ``engine`` in the environment of ``python``."""

    engine = ""

    @property
    @abstractmethod
    def python(self) -> Path:
        """The interpreter of the environment."""

    def ready(self) -> None:  # noqa: B027 (nothing to look for is an answer)
        """Nothing to look for by default."""

    def check(self, job: Job) -> None:
        """Run the worker's checks."""
        write_job(job, {"engine": self.engine, "task": "check"})
        for _ in Worker(self.python, job.folder).events():
            pass

    def tune(self, job: Job, on_event: OnEvent) -> Tuned:
        """Train; the first interrupt asks the worker for its best so far, a second one is passed on."""
        write_job(job, {"engine": self.engine, "task": "tune"})
        worker = Worker(self.python, job.folder)
        done: Mapping[str, Any] | None = None
        for event in worker.events():
            done = event if event["event"] == "done" else done
            try:
                on_event(event)
            except KeyboardInterrupt:
                worker.interrupt()
        if done is None:
            raise PassError(f"the trainer ended without a result: {worker.tail()}")
        return _result(job, done)


def write_job(job: Job, more: Mapping[str, Any]) -> None:
    """Write job.json."""
    text = json.dumps({**job.document, **more}, allow_nan=False)
    (job.folder / "job.json").write_text(text, encoding="utf-8")


def _event(line: str) -> dict[str, Any] | None:
    """One event, or None for a line that is none: native code may print into the stream."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _result(job: Job, done: Mapping[str, Any]) -> Tuned:
    names = [*job.document["parameters"], *job.document["statistics"]]
    with np.load(job.folder / "best.npz", allow_pickle=False) as stored:
        values = {name: stored[str(number)] for number, name in enumerate(names)}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise PassError(f"the trainer returned values of {name} that are not numbers")
    return Tuned(
        values,
        done["reason"],
        done["best_epoch"],
        done["first_loss"],
        done["best_loss"],
        tuple(done["history"]),
        {name: done[name] for name in DETAILS},
    )


def _failure(event: Mapping[str, Any]) -> GraphoptError:
    code, message, node = event["code"], event["message"], event.get("node") or ""
    if code == "disk":
        return OutputError(f"the trainer cannot write its job folder: {message}", hint="free some space")
    if code == "data":
        return DataError(message)
    if code in ("no_gradient", "no_kernel", "gradient"):
        where = f" (node {node})" if node and node not in message else ""
        return PassError(
            f"{message}{where}", node=node, hint=f"leave it out with freeze={node or 'NAME'}, or behind=NODE"
        )
    return PassError(message, node=node)
