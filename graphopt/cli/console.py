"""What a command shows while it works: messages and a progress bar, both on stderr."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import click

T = TypeVar("T")

PATIENCE = 2.0  # seconds without a word; what takes longer shows that it works


class Console:
    """Messages and progress of one command; silent with ``quiet``."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._has_bar = False

    def announce(self, text: str) -> None:
        """Say one sentence on stderr."""
        if not self._quiet:
            click.echo(text, err=True)

    def progress(self, description: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
        """Iterate over ``items``; a bar appears when that takes more than two seconds.

        A description whose text changes, by its ``__str__``, is shown as it is at the moment.
        """
        return items if self._quiet else self._watched(description, items, total)

    @contextmanager
    def busy(self, description: str) -> Iterator[None]:
        """Say what is being done when it takes more than two seconds."""
        timer = threading.Timer(PATIENCE, self._say_busy, [description])
        timer.daemon = True
        if not self._quiet:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _say_busy(self, description: str) -> None:
        if not self._has_bar:
            click.echo(f"{description} ...", err=True)

    def _watched(self, description: str, items: Iterable[T], total: int | None) -> Iterator[T]:
        start, bar = monotonic(), None
        try:
            for done, item in enumerate(items):
                if bar is None and monotonic() - start > PATIENCE:
                    bar, self._has_bar = _Bar(description, total), True
                if bar is not None:
                    bar.show(done)
                yield item
        finally:
            if bar is not None:
                bar.close()
                self._has_bar = False


class _Bar:
    """A progress bar on a terminal, one line elsewhere."""

    def __init__(self, description: str, total: int | None) -> None:
        self._bar: Any = None
        self._description = description
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            click.echo(f"{description} ...", err=True)
            return
        from rich.console import Console as RichConsole
        from rich.progress import Progress

        self._bar = Progress(console=RichConsole(stderr=True), transient=True)
        self._task = self._bar.add_task(str(description), total=total)
        self._bar.start()

    def show(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=str(self._description))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
