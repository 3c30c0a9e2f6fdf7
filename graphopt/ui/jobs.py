"""One job at a time, the others in a queue, with what is known of each."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from graphopt.errors import GraphoptError
from graphopt.util.progress import Progress

T = TypeVar("T")
MOST_WAITING = 20  # memory: jobs in the queue
OFTEN = 0.1  # seconds between two notes of how far a loop is

State = Literal["waiting", "running", "done", "failed", "cancelled"]
Work = Callable[[Progress], Any]


class _CancelledError(Exception):
    """The user took the job back."""


@dataclass
class Job:
    """One job: what it is called, how far it is, and what came out (``result`` is plain values)."""

    number: int
    kind: str
    title: str
    state: State = "waiting"
    doing: str = ""
    done: int = 0
    total: int | None = None
    message: str = ""
    seconds: float = 0.0
    result: Any = None
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The job as plain values."""
        values = {key: value for key, value in vars(self).items() if key != "stop"}
        return {**values, "doing": str(self.doing)}  # a description may change while it is shown


class Jobs:
    """A queue and the one thread that works on it; ``changed`` is called whenever anything did."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._waiting: queue.Queue[tuple[Job, Work] | None] = queue.Queue()
        self._jobs: list[Job] = []
        self._thread = threading.Thread(target=self._run, name="graphopt-jobs", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs))

    def add(self, kind: str, title: str, work: Work) -> Job | None:
        """Put a job at the end of the queue; None when it is full."""
        if sum(job.state == "waiting" for job in self) >= MOST_WAITING:
            return None
        job = Job(len(self._jobs) + 1, kind, title)
        self._jobs.append(job)
        self._waiting.put((job, work))
        self._changed()
        return job

    def find(self, number: int) -> Job | None:
        """The job of a number."""
        return next((job for job in self if job.number == number), None)

    def cancel(self, job: Job) -> None:
        """Take a job back: one that waits never begins, one that runs ends at its next step."""
        job.stop.set()
        if job.state == "waiting":
            job.state = "cancelled"
        self._changed()

    def close(self) -> None:
        """Let the running job end at its next step, and no other begin."""
        for job in self:
            job.stop.set()
        self._waiting.put(None)

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            job, work = entry
            if not job.stop.is_set():
                self._work(job, work)

    def _work(self, job: Job, work: Work) -> None:
        start = time.monotonic()
        job.state = "running"
        self._changed()
        try:
            job.result = work(self._watch(job))
            job.state = "done"
        except _CancelledError:
            job.state = "cancelled"
        except GraphoptError as error:
            job.state, job.message = "failed", f"{error}" + (f" ({error.hint})" if error.hint else "")
        except Exception as error:  # our own bug: the page says so and goes on
            job.state, job.message = "failed", f"graphopt itself failed: {type(error).__name__}: {error}"
        job.seconds = time.monotonic() - start
        job.doing = ""
        self._changed()

    def _watch(self, job: Job) -> Progress:
        def progress(description: str, items: Iterable[T], total: int | None = None) -> Iterator[T]:
            job.doing, job.done, job.total = description, 0, total
            self._changed()
            said = time.monotonic()
            for item in items:
                if job.stop.is_set():
                    raise _CancelledError
                yield item
                job.done += 1
                if time.monotonic() - said > OFTEN:
                    said = time.monotonic()
                    self._changed()

        return progress
