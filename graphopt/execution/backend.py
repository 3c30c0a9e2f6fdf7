"""What carries out tasks: the protocol, and what differs from one kind of executor to another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from graphopt.errors import WorkersError
from graphopt.execution.tasks import Call


class Future(Protocol):
    """The result of a task that may not be ready."""

    def result(self) -> Any:
        """The result, waited for."""
        ...

    def add_done_callback(self, fn: Callable[[Any], Any]) -> Any:
        """Call ``fn`` once it is ready."""
        ...

    def cancel(self) -> Any:
        """Do not begin it any more."""
        ...


class Executor(Protocol):
    """What any ``concurrent.futures.Executor`` and a Dask client can do, and all that is asked of them."""

    def submit(self, function: Callable[..., Any], /, *values: Any) -> Future:
        """Begin a task."""
        ...


class Backend(ABC):
    """An executor, with what differs between kinds: how contents travel, what becomes of lost tasks."""

    description: str = ""
    dashboard: str = ""
    is_local: bool = False
    blames_tasks: bool = True  # whether a loss may be the fault of the task that was lost

    @property
    @abstractmethod
    def count(self) -> int:
        """How many tasks run at the same time, at least 1."""

    @abstractmethod
    def submit(self, call: Call, contents: Sequence[Any]) -> Future:
        """Begin a task; ``contents`` are what ``publish`` made of the contents that it refers to."""

    @abstractmethod
    def publish(self, digest: str, content: bytes) -> Any:
        """Make a content available to workers; what it returns goes into ``submit``, None for nothing."""

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error says that a worker is gone, rather than that the task failed."""
        return False

    def recover(self, error: BaseException) -> bool:
        """Get workers again after a loss; True when contents have to be published anew."""
        return False

    def explain(self, error: BaseException) -> Exception:
        """A sentence for an error that ends the run."""
        return error if isinstance(error, Exception) else WorkersError(str(error))

    @abstractmethod
    def close(self) -> None:
        """Let go of the workers; those that were started here end."""
