"""The workers of a Dask cluster, reached through its scheduler."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from graphopt.errors import UsageError, WorkersError
from graphopt.execution.backend import Backend, Future
from graphopt.execution.tasks import Call, perform, refuse

REACHED_IN = 10  # time: seconds until a scheduler that does not answer is given up
PAUSE = 0.5  # time: seconds before a cluster that lost a task is looked at again
BACK_IN = 60.0  # time: seconds that a scheduler may take to come back


class DaskCluster(Backend):
    """A Dask client, opened here or given by the caller.

    A content goes into the graph once, and Dask carries it from worker to worker.  Dask begins the tasks of a
    dead worker again by itself; when the scheduler is gone, its address is tried until it is back.
    """

    blames_tasks = False  # Dask begins the tasks of a dead worker again itself, and gives up at some time

    def __init__(self, client: Any, *, is_own: bool) -> None:
        self._client = client
        self._is_own = is_own
        self._address = str(client.scheduler.address)
        self._security = getattr(client, "security", None)
        self._numbers = itertools.count()
        self._run = secrets.token_hex(4)
        self.description = f"the Dask cluster {self._address}"
        self.dashboard = str(getattr(client, "dashboard_link", "") or "")

    @classmethod
    def connect(cls, address: str) -> DaskCluster:
        """Reach the scheduler at an address or the one that a scheduler file names.

        Raises UsageError when there is none, or Dask is not installed.
        """
        distributed = _distributed()
        address = _address_in(Path(address)) if address.endswith(".json") else address
        try:
            client = distributed.Client(address, timeout=REACHED_IN, set_as_default=False)
        except (OSError, ValueError, TypeError, asyncio.TimeoutError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {address} within {REACHED_IN} seconds: {_reason(error)}",
                hint="start one with dask scheduler, or use --workers N for processes of this machine",
            ) from error
        return cls(client, is_own=True)

    @property
    def count(self) -> int:
        try:
            threads = self._client.nthreads()
        except (OSError, RuntimeError, TypeError):
            return 1
        return max(1, sum(threads.values()))

    def submit(self, call: Call, contents: Sequence[Any]) -> Future:
        name = f"{call.function.__name__}-{self._run}-{next(self._numbers)}"
        future: Future = self._client.submit(perform, call, *contents, key=name, pure=False)
        return future

    def publish(self, digest: str, content: bytes) -> Any:
        # a task, not scattered data: those are lost with their worker, this is made again
        return self._client.submit(bytes, content, key=f"content-{self._run}-{digest[:16]}")

    def is_loss(self, error: BaseException) -> bool:
        if type(error).__name__ == "KilledWorker":
            return False  # Dask has tried several times
        return isinstance(error, (CancelledError, asyncio.CancelledError, OSError, asyncio.TimeoutError)) or (
            isinstance(error, RuntimeError) and "client" in str(error).lower()
        )

    def recover(self, error: BaseException) -> bool:
        """Reach the scheduler again, and say that contents have to be published to it."""
        sleep(PAUSE)  # while a scheduler goes down its client may still look well
        if self._client.status == "running" and self._answers():
            return True
        distributed, until = _distributed(), monotonic() + BACK_IN
        while monotonic() < until:
            try:
                self._client = distributed.Client(
                    self._address, security=self._security, timeout=5, set_as_default=False
                )
                self._is_own = True
                return True
            except (OSError, asyncio.TimeoutError):
                sleep(1)
        raise WorkersError(
            f"the Dask scheduler {self._address} does not answer any more",
            hint="start it again; with --cache the run goes on where it was",
        ) from error

    def _answers(self) -> bool:
        try:
            self._client.sync(self._client.scheduler.identity, callback_timeout=5)
        except (OSError, RuntimeError, asyncio.TimeoutError):
            return False
        return True

    def explain(self, error: BaseException) -> Exception:
        if type(error).__name__ == "KilledWorker":
            return WorkersError(
                f"several workers of {self.description} ended over the same task: {error}",
                hint="they may lack memory: raise --memory-limit of the workers, or use fewer on a machine",
            )
        if isinstance(error, (ImportError, AttributeError)):
            return refuse(error, f"a worker of {self.description}")
        return super().explain(error)

    def close(self) -> None:
        if self._is_own:
            self._client.close()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            "a Dask cluster needs the packages dask and distributed", hint='pip install "graphopt[dask]"'
        ) from error
    return distributed


def _address_in(file: Path) -> str:
    """The address that a scheduler file names."""
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} names no Dask scheduler", hint="dask scheduler --scheduler-file writes such a file"
        ) from error


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
