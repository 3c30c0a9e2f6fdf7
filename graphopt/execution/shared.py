"""Values that travel to each worker once, named by the hash of their content."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

Load = Callable[[bytes], T]
Content = bytes | Path
KEPT = 8  # memory: values of earlier tasks that a worker keeps, the latest ones
DERIVED = 8  # memory: what was made of one value, such as sessions of a model, the latest ones


class MissingError(Exception):
    """This process has not got the content of that hash yet."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class Shared(ABC, Generic[T]):
    """A value that tasks refer to instead of carrying it: see ``Workers.share``."""

    @abstractmethod
    def _slot(self) -> _Slot[T]: ...

    def get(self) -> T:
        """The value, the same object for all tasks of a process: treat it as read-only."""
        return self._slot().value

    def derive(self, key: Hashable, make: Callable[[T], U]) -> U:
        """What ``make`` makes of the value, such as a session: made once for each ``key`` in each process."""
        return self._slot().derive(key, make)


class _Slot(Generic[T]):
    """A value in a process, with what was made of it."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._derived: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()

    def derive(self, key: Hashable, make: Callable[[T], U]) -> U:
        with self._lock:
            if key not in self._derived:
                while len(self._derived) >= DERIVED:
                    self._derived.popitem(last=False)
                self._derived[key] = make(self.value)
            self._derived.move_to_end(key)
            made: U = self._derived[key]
            return made


class InPlace(Shared[T]):
    """A value of this process, which its tasks use as it is; it never travels."""

    def __init__(self, value: T) -> None:
        self._own = _Slot(value)

    def _slot(self) -> _Slot[T]:
        return self._own


@dataclass(frozen=True)
class ByHash(Shared[T]):
    """The hash of a content, and the function that makes the value of it."""

    digest: str
    load: Load[T]

    def _slot(self) -> _Slot[T]:
        return _process.slot(self.digest, self.load)


def digest_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class _Process:
    """What this process has of shared values."""

    def __init__(self) -> None:
        self._slots: OrderedDict[str, _Slot[Any]] = OrderedDict()
        self._contents: dict[str, Content] = {}
        self._lock = threading.RLock()

    def slot(self, digest: str, load: Load[T]) -> _Slot[T]:
        with self._lock:
            if digest not in self._slots:
                value = load(self._read(digest))
                while len(self._slots) >= KEPT:
                    self._slots.popitem(last=False)
                self._slots[digest] = _Slot(value)
            self._slots.move_to_end(digest)
            return self._slots[digest]

    def _read(self, digest: str) -> bytes:
        content = self._contents.get(digest)
        if content is None:
            raise MissingError(digest)
        read = content.read_bytes() if isinstance(content, Path) else content
        if digest_of(read) != digest:
            raise OSError(f"the content {digest[:12]} arrived damaged")
        return read

    @contextmanager
    def provided(self, contents: Mapping[str, Content | None]) -> Iterator[None]:
        """Give values that are not here yet their content, while a task runs."""
        with self._lock:
            self._contents.update((digest, content) for digest, content in contents.items() if content)
        try:
            yield
        finally:
            with self._lock:
                for digest in contents:
                    self._contents.pop(digest, None)


_process = _Process()
provided = _process.provided
