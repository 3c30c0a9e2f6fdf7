"""Any other executor of ``concurrent.futures``: threads, pools of joblib, Ray or MPI."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

from graphopt.execution.backend import Backend, Executor, Future
from graphopt.execution.tasks import Call, perform


class Foreign(Backend):
    """An executor that a caller made, and keeps.

    Nothing is known of where its tasks run: a worker that lacks a content says so and gets it with the task.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.description = type(executor).__name__

    @property
    def count(self) -> int:
        workers = getattr(self._executor, "_max_workers", None)
        return workers if isinstance(workers, int) and workers > 0 else os.cpu_count() or 1

    def submit(self, call: Call, contents: Sequence[Any]) -> Future:
        return self._executor.submit(perform, call, *contents)

    def publish(self, digest: str, content: bytes) -> None:
        return None

    def is_loss(self, error: BaseException) -> bool:
        return False

    def explain(self, error: BaseException) -> Exception:
        from graphopt.errors import WorkersError

        if isinstance(error, BrokenExecutor):
            return WorkersError(
                f"the {self.description} given as workers is broken: {error}",
                hint="give a new one; with --cache the run goes on where it was",
            )
        return super().explain(error)

    def close(self) -> None:
        """It belongs to the caller."""
