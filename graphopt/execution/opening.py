"""From ``--workers``, or what a Python caller gives, to workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphopt.errors import UsageError
from graphopt.execution.backend import Executor
from graphopt.execution.executor import Workers

WorkersLike = int | str | Executor | Any
"""A number of processes, the address of a Dask scheduler or its file, an executor, a Dask client."""

SCHEMES = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")
MOST = 1024  # fixed: more processes than any machine has processors: a typing error


@contextmanager
def open_workers(
    given: WorkersLike | Workers | None = None,
    *,
    heterogeneous: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> Iterator[Workers]:
    """Workers for the length of a ``with`` block; what a caller had opened before stays open.

    Args:
        given: None or 1 for this process; a number of processes on this machine; ``tcp://host:8786``,
            ``tls://...`` or the path of a scheduler file for a Dask cluster; any
            ``concurrent.futures.Executor``; a Dask client; workers that are open already.
        heterogeneous: admit workers whose processor has another instruction set: their results differ in the
            last bits, so that the run cannot be repeated elsewhere.
        announce: hears one sentence about the cluster.

    Raises:
        UsageError: what is given are no workers, or no scheduler answers within 10 seconds.
    """
    if isinstance(given, Workers):
        yield given
        return
    wanted = 1 if given is None else check_workers(given)
    if wanted == 1:
        yield Workers()
        return
    with Workers(_backend(wanted), heterogeneous=heterogeneous) as workers:
        if not isinstance(wanted, int):
            page = f", seen at {workers.dashboard}" if workers.dashboard else ""
            announce(f"tasks run on {workers.description}{page}")
        yield workers


def check_workers(given: WorkersLike) -> WorkersLike:
    """The same with a number as an int; UsageError for what cannot be workers, before anything is opened."""
    if isinstance(given, str) and given.strip().isdigit():
        given = int(given)
    if isinstance(given, bool) or (isinstance(given, int) and not 1 <= given <= MOST):
        raise UsageError(f"--workers takes a number from 1 to {MOST}, not {given!r}")
    if isinstance(given, (str, Path)):
        text = str(given)
        if text.endswith(".json"):
            if not Path(text).is_file():
                raise UsageError(f"there is no scheduler file {text}", hint="dask scheduler writes it")
        elif not text.startswith(SCHEMES):
            raise UsageError(
                f"--workers {text} is neither a number nor the address of a Dask scheduler",
                hint="write --workers 4, tcp://host:8786, tls://host:8786 or the path of scheduler.json",
            )
    elif not isinstance(given, int) and not callable(getattr(given, "submit", None)):
        raise UsageError(
            f"workers={given!r} cannot take tasks",
            hint="give a number, an address, a concurrent.futures.Executor or a Dask client",
        )
    return given


def _backend(given: WorkersLike) -> Any:
    if isinstance(given, int):
        from graphopt.execution.processes import Processes

        return Processes(given)
    if isinstance(given, (str, Path)):
        from graphopt.execution.dask_cluster import DaskCluster

        return DaskCluster.connect(str(given))
    if hasattr(given, "scheduler") and hasattr(given, "scatter"):
        from graphopt.execution.dask_cluster import DaskCluster

        return DaskCluster(given, is_own=False)
    from graphopt.execution.foreign import Foreign

    return Foreign(given)
