"""What travels to a worker and back, and what a worker refuses."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

from graphopt import errors
from graphopt.errors import DataError, GraphoptError, WorkersError
from graphopt.execution.shared import Content, MissingError, provided

PACKAGES = ("graphopt", "numpy", "onnx", "onnxruntime")  # those whose versions decide about results


@dataclass(frozen=True)
class Identity:
    """What results of a process depend on besides its tasks: package versions, instruction set."""

    packages: tuple[tuple[str, str], ...]
    isa: str

    @classmethod
    def here(cls) -> Identity:
        """That of this process."""
        from graphopt.runtime import machine

        return cls(tuple((name, _version(name)) for name in PACKAGES), machine()["isa"])

    def refusal(self, other: Identity, *, heterogeneous: bool) -> str:
        """Why a worker like ``other`` cannot take tasks of this process; empty when it can."""
        for (name, own), (_, theirs) in zip(self.packages, other.packages, strict=True):
            if own != theirs:
                return f"has {name} {theirs or 'not installed'}, not {own} as here"
        if self.isa != other.isa and not heterogeneous:
            return f"computes with {other.isa}, not with {self.isa} as this machine, so its results differ"
        return ""


@dataclass(frozen=True)
class Call:
    """One task: a function that can be imported, its arguments, and who asks."""

    function: Callable[..., Any]
    values: tuple[Any, ...]
    asker: Identity
    heterogeneous: bool = False
    digests: tuple[str, ...] = ()  # of the contents that come with it


@dataclass(frozen=True)
class Failure:
    """An error as plain values, so that any error comes back whole."""

    kind: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: GraphoptError) -> Failure:
        """The error as plain values."""
        return cls(type(error).__name__, str(error), error.hint)

    def error(self, worker: str) -> GraphoptError:
        """The error again; what a worker cannot read names the worker, because others may be able to."""
        made = getattr(errors, self.kind, GraphoptError)
        message = f"{self.message} (on the worker {worker})" if made is DataError else self.message
        error: GraphoptError = made(message, hint=self.hint)
        return error


@dataclass(frozen=True)
class Answer:
    """What comes back: a value, a failure, or the hash of a content that the worker has not got."""

    worker: str
    identity: Identity
    value: Any = None
    failure: Failure | None = None
    missing: str = ""
    seconds: float = 0.0


def perform(call: Call, *contents: Content | None) -> Answer:
    """Carry out a task in this process, unless its results could differ from those of the asking one."""
    own, name = Identity.here(), worker_name()
    if text := call.asker.refusal(own, heterogeneous=call.heterogeneous):
        hint = "install the same versions on all workers"
        if "computes with" in text:
            hint = "use workers with the same instruction set, or admit them with --heterogeneous"
        return Answer(name, own, failure=Failure("WorkersError", f"the worker {name} {text}", hint))
    start = perf_counter()
    try:
        with provided(dict(zip(call.digests, contents, strict=False))):
            value = call.function(*call.values)
    except MissingError as error:
        return Answer(name, own, missing=error.digest)
    except GraphoptError as error:
        return Answer(name, own, failure=Failure.of(error))
    except MemoryError:
        failure = Failure(
            "WorkersError", f"the worker {name} has not enough memory", "use fewer workers on that machine"
        )
        return Answer(name, own, failure=failure)
    return Answer(name, own, value, seconds=perf_counter() - start)


def worker_name() -> str:
    """What this process is called: the address that Dask gives it, else its machine and process number."""
    try:
        from distributed import get_worker

        return str(get_worker().address)
    except (ImportError, ValueError):
        return f"{socket.gethostname()}:{os.getpid()}"


def task_seed(seed: int, purpose: str, number: int) -> int:
    """The seed of one task: the same wherever and whenever it runs, another one for each task."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()[:8], "big")


def refuse(error: Exception, what: str) -> WorkersError:
    """The error for a worker that cannot even begin, such as one without graphopt."""
    return WorkersError(
        f"{what} cannot run graphopt's tasks: {error}",
        hint=f"install graphopt {_version('graphopt')} with Python {platform.python_version()} there",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # onnxruntime-gpu, or a checkout that is not installed
        try:
            return str(getattr(__import__(package), "__version__", ""))
        except ImportError:
            return ""
