"""What a command shows while it works: messages and progress, both on stderr.

A run that says its phases gets one bar over all of them on a terminal, and in a log a line a minute; any
other work that takes long a bar or a line of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Any, TypeVar

import click

from graphopt.util.phases import Overall, expected_seconds, keep_seconds

T = TypeVar("T")

PATIENCE = 2.0  # time: seconds without a word; what takes longer shows that it works
MINUTE = 60.0  # time: seconds between the lines in a log


class Console:
    """Messages and progress of one command; silent with ``quiet``."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._has_bar = False
        self._run: _RunDisplay | None = None

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def announce(self, text: str) -> None:
        """Say one sentence on stderr."""
        if not self._quiet:
            click.echo(text, err=True)

    def phases(self, names: Sequence[str]) -> None:
        """What a run will do, in order: from now on there is one display for all of it, until ``close``."""
        if not self._quiet and self._run is None:
            self._run = _RunDisplay(Overall(names, expected_seconds()))
            self._has_bar = self._run.on_terminal

    def close(self) -> None:
        """Take the display of the run away and keep what its phases took."""
        if self._run is not None:
            self._run.close()
            keep_seconds(self._run.overall.measured)
            self._run, self._has_bar = None, False

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
            with nullcontext() if self._run is None else self._run.phase(description):
                yield
        finally:
            timer.cancel()

    def _say_busy(self, description: str) -> None:
        if not self._has_bar:
            click.echo(f"{description} ...", err=True)

    def _watched(self, description: str, items: Iterable[T], total: int | None) -> Iterator[T]:
        start, bar, run = monotonic(), None, self._run
        if run is not None:
            run.overall.loop(str(description))
        try:
            for done, item in enumerate(items):
                if run is not None:
                    run.overall.step(str(description), done, total)
                if bar is None and not self._has_bar and monotonic() - start > PATIENCE:
                    bar, self._has_bar = _Bar(description, total), True
                if bar is not None:
                    bar.show(done)
                yield item
        finally:
            if bar is not None:
                bar.close()
                self._has_bar = False


def is_terminal() -> bool:
    """Whether stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class _RunDisplay:
    """One bar for a whole run on a terminal, one line a minute elsewhere; drawn by a thread of its own."""

    def __init__(self, overall: Overall) -> None:
        self.overall, self.on_terminal = overall, is_terminal()
        self._done = threading.Event()
        work = self._draw if self.on_terminal else self._write
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """While one phase, or something that is none, is worked on."""
        counts = self.overall.enter(name)
        try:
            yield
        finally:
            if counts:
                self.overall.leave(name)

    def close(self) -> None:
        self._done.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._done.wait(MINUTE):
            click.echo(self.overall.line(), err=True)

    def _draw(self) -> None:
        if self._done.wait(PATIENCE / 2):  # short runs show nothing; reading came before
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}")
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            while True:
                text = f"[{self.overall.place}] {self.overall.line()}".replace("[", "\\[")
                bar.update(task, completed=self.overall.share, description=text)
                if self._done.wait(0.25):
                    return


class _Bar:
    """A progress bar on a terminal, one line elsewhere."""

    def __init__(self, description: str, total: int | None) -> None:
        self._bar: Any = None
        self._description = description
        if not is_terminal():
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
