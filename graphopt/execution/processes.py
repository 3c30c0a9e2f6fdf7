"""Processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from graphopt.execution.backend import Backend
from graphopt.execution.tasks import Call, perform
from graphopt.util.files import replacing


class Processes(Backend):
    """``count`` processes that begin anew, so that nothing of this one's state decides about results.

    Contents lie in a temporary folder that all of them read.  They end with this process, however it ends;
    when one is killed, all are started again and go on with what was not answered.
    """

    is_local = True

    def __init__(self, count: int) -> None:
        self._count = count
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-")
        self._before = set(multiprocessing.active_children())
        self._pool = self._start()
        self.description = f"{count} processes"

    @property
    def count(self) -> int:
        return self._count

    def submit(self, call: Call, contents: Sequence[Any]) -> Future[Any]:
        return self._pool.submit(perform, call, *contents)

    def publish(self, digest: str, content: bytes) -> Path:
        path = Path(self._folder.name, digest)
        if not path.exists():
            with replacing(path) as draft:
                draft.write_bytes(content)
        return path

    def is_loss(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def recover(self, error: BaseException) -> bool:
        if getattr(self._pool, "_broken", False):
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._start()
        return False

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - self._before:
            child.terminate()
        self._folder.cleanup()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._count, context, initializer=_prepare)


def _prepare() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends the others


def _end_with_parent() -> None:
    """Leave when the first process was killed and could end nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
