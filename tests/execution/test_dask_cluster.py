"""A Dask cluster does what one process does, whatever happens to its workers and its scheduler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphopt.calibration import collect
from graphopt.errors import UsageError, WorkersError
from graphopt.execution import open_workers
from tests.calibration.test_workers import SAMPLES, WANTED, bits, network, samples_of

distributed = pytest.importorskip("distributed")


def test_a_scheduler_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphopt.execution.dask_cluster.REACHED_IN", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        sentence = f"no Dask scheduler answers at {address}"
        with pytest.raises(UsageError, match=sentence), open_workers(address):
            pass


def test_a_scheduler_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match="names no Dask scheduler"), open_workers(str(path)):
        pass


def test_what_dask_gives_up_is_said_without_its_words() -> None:
    from graphopt.execution.dask_cluster import DaskCluster

    Killed = type("KilledWorker", (Exception,), {})  # noqa: N806 (a class)
    cluster = object.__new__(DaskCluster)
    cluster.description = "the Dask cluster tcp://x"
    assert not cluster.is_loss(Killed("task"))
    error = cluster.explain(Killed("task"))
    assert isinstance(error, WorkersError) and "several workers" in str(error)
    assert "cannot run graphopt's tasks" in str(cluster.explain(ModuleNotFoundError("no graphopt")))


class Cluster:
    """A scheduler and workers of one thread, each a process of its own as on a real cluster."""

    def __init__(self, folder: Path, workers: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()
        wait_for(self.port)
        self.workers = [self.start_worker() for _ in range(workers)]

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard",
            "--scheduler-file", str(self.file),
        )  # fmt: skip

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny",
            "--local-directory", str(self.folder), "--death-timeout", "60",
        )  # fmt: skip

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        made = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.processes.append(made)
        return made

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 2)
    try:
        yield made
    finally:
        made.stop()


def wait_for(port: int) -> None:
    """Wait for a scheduler that is starting."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the scheduler does not start")


@pytest.mark.slow
def test_a_cluster_collects_the_same_bits_while_workers_and_the_scheduler_die(cluster: Cluster) -> None:
    model = network()
    samples = samples_of(model)
    expected = bits(collect(model, WANTED, samples))
    said: list[str] = []

    def kill_one(description: Any, items: Any, total: int | None) -> Any:
        for number, item in enumerate(items):
            if number == SAMPLES // 4:
                cluster.workers[0].send_signal(signal.SIGKILL)
            yield item

    def restart(description: Any, items: Any, total: int | None) -> Any:
        for number, item in enumerate(items):
            if number == SAMPLES // 4:
                cluster.scheduler.kill()
                cluster.scheduler.wait()
                cluster.scheduler = cluster.start_scheduler()
                cluster.workers.append(cluster.start_worker())
            yield item

    with open_workers(cluster.address, announce=said.append) as workers:
        assert said and cluster.address in said[0]
        for progress in (None, kill_one, restart):
            assert bits(collect(model, WANTED, samples, workers=workers, progress=progress)) == expected


@pytest.mark.slow
def test_a_client_of_the_caller_and_a_scheduler_file_do_as_well(cluster: Cluster) -> None:
    model = network()
    samples = samples_of(model, 150)
    expected = bits(collect(model, WANTED, samples))
    with open_workers(str(cluster.file)) as workers:
        assert bits(collect(model, WANTED, samples, workers=workers)) == expected
    with distributed.Client(cluster.address, set_as_default=False) as client:
        with open_workers(client) as workers:
            assert bits(collect(model, WANTED, samples, workers=workers)) == expected
        assert client.status == "running"
