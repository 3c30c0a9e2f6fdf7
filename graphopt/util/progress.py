"""How work that takes long is shown: what every part that loops accepts, and what shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")
Busy = Callable[[str], AbstractContextManager[object]]
Progress = Callable[[str, Iterable[Any], "int | None"], Iterable[Any]]  # description, items, how many


def silent(description: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
    """A progress display that shows nothing."""
    return items


def unwatched(description: str) -> AbstractContextManager[object]:
    """What shows nothing about work that takes long."""
    return nullcontext()
