"""One job at a time, in order; cancelled and failed ones leave the queue working."""

from __future__ import annotations

import threading
from typing import Any

from graphopt.errors import UsageError
from graphopt.ui.jobs import MOST_WAITING, Jobs

PATIENCE = 30.0


class Gate:
    """Work that waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, progress: Any) -> str:
        for _ in progress("waiting", range(1000), 1000):
            self.begun.set()
            assert self.open.wait(PATIENCE)
        return "through"


def fail(error: Exception) -> Any:
    def work(progress: Any) -> None:
        raise error

    return work


def test_jobs_run_one_after_the_other_and_failures_are_sentences() -> None:
    done = threading.Event()
    jobs, gate = Jobs(lambda: None), Gate()
    first = jobs.add("run", "first", gate)
    second = jobs.add("run", "second", fail(UsageError("no samples", hint="name some")))
    third = jobs.add("run", "third", fail(ZeroDivisionError("our bug")))
    last = jobs.add("run", "last", lambda progress: done.set())
    assert gate.begun.wait(PATIENCE)
    assert [job.state for job in jobs] == ["running", "waiting", "waiting", "waiting"]
    gate.open.set()
    assert done.wait(PATIENCE)
    jobs.close()
    jobs._thread.join(PATIENCE)
    assert [job.state for job in jobs] == ["done", "failed", "failed", "done"]
    assert first.result == "through" and first.done == 1000
    assert second.message == "no samples (name some)" and "our bug" in third.message
    assert jobs.find(4) is last and jobs.find(5) is None


def test_a_cancelled_job_ends_at_its_next_step_and_a_waiting_one_never_begins() -> None:
    jobs, gate, other = Jobs(lambda: None), Gate(), Gate()
    running, waiting = jobs.add("run", "a", gate), jobs.add("run", "b", other)
    assert gate.begun.wait(PATIENCE)
    jobs.cancel(waiting)
    jobs.cancel(running)
    gate.open.set()
    jobs.close()
    jobs._thread.join(PATIENCE)
    assert [running.state, waiting.state] == ["cancelled", "cancelled"]
    assert running.done < 3 and not other.begun.is_set()


def test_the_queue_has_an_end() -> None:
    jobs, gate = Jobs(lambda: None), Gate()
    jobs.add("run", "first", gate)
    assert gate.begun.wait(PATIENCE)
    assert all(jobs.add("run", str(i), gate) for i in range(MOST_WAITING))
    assert jobs.add("run", "one too many", gate) is None
    gate.open.set()
    jobs.close()
    jobs._thread.join(PATIENCE)
