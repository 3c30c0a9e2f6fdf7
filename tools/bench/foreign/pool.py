"""Tries in worker processes: a crash or a time-out takes one case, not the run."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from tools.bench.foreign.cases import Case
from tools.bench.foreign.trial import CRASH, TIMEOUT, Verdict, try_case

Task = tuple[Case, str]


def try_all(
    tasks: Sequence[Task],
    workers: int,
    limit: float,
    flags: dict[str, Any] | None = None,
    note: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Try every task, at most ``limit`` seconds each; verdicts in the order of the tasks."""
    verdicts: dict[int, Verdict] = {}
    pending = iter(enumerate(tasks))
    crew = [_Worker(flags or {}) for _ in range(min(workers, len(tasks)))]
    try:
        for worker in crew:
            worker.give(next(pending, None), limit)
        while any(worker.task for worker in crew):
            for index, verdict in _finished(crew):
                verdicts[index] = verdict
                note(verdict)
            for worker in crew:
                if worker.task is None:
                    worker.give(next(pending, None), limit)
    finally:
        for worker in crew:
            worker.stop()
    return [verdicts[index] for index in range(len(tasks))]


class _Worker:
    """A process that tries one case after the other; started again after a crash or a time-out."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags
        self.task: tuple[int, Task] | None = None
        self.deadline = 0.0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, self._flags), daemon=True)
        self.process.start()
        other.close()

    def give(self, task: tuple[int, Task] | None, limit: float) -> None:
        """Begin a task; nothing when there is none left."""
        self.task = task
        if task is not None:
            self.deadline = time.monotonic() + limit
            with contextlib.suppress(OSError):  # of a process that has died: the verdict is a crash
                self.pipe.send(task[1])

    def collect(self) -> Verdict | None:
        """The verdict when there is one, or the worker is dead or too slow; None while it works."""
        assert self.task is not None
        case, passes = self.task[1]
        try:
            if self.pipe.poll():
                return self.pipe.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            self._restart()
            return Verdict(case.name, passes, CRASH, f"exit code {code}")
        if time.monotonic() < self.deadline:
            return None
        self._restart()
        return Verdict(case.name, passes, TIMEOUT)

    def _restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _finished(crew: Sequence[_Worker]) -> Iterator[tuple[int, Verdict]]:
    busy = [worker for worker in crew if worker.task is not None]
    nearest = min(worker.deadline for worker in busy) - time.monotonic()
    wait([worker.pipe for worker in busy], timeout=max(nearest, 0.0))
    for worker in busy:
        verdict = worker.collect()
        if verdict is not None:
            assert worker.task is not None
            yield worker.task[0], verdict
            worker.task = None


def _serve(pipe: Connection, flags: dict[str, Any]) -> None:
    while True:
        try:
            case, passes = pipe.recv()
        except EOFError:
            return
        pipe.send(try_case(case, passes, flags))
