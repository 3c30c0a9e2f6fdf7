"""Work that takes long is seen on stderr; short work is not."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from graphopt.cli import console as module
from graphopt.cli.console import Console


class Clock:
    """Seconds that pass only when a test says so, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def slowly(clock: Clock, count: int) -> Iterator[int]:
    for number in range(count):
        clock.now += 0.75 * module.PATIENCE
        yield number


def timers() -> list[threading.Timer]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_long_loop_is_announced_once_and_loses_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(Console().progress("counting", slowly(clock, 5), 5)) == list(range(5))
    assert capsys.readouterr().err == "counting ...\n"


def test_a_short_loop_is_not(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Console().progress("counting", slowly(clock, 1))) == [0]
    assert capsys.readouterr().err == ""


def test_long_work_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    said: list[str] = []
    heard = threading.Event()

    def echo(text: str, err: bool) -> None:
        assert err
        said.append(text)
        heard.set()

    monkeypatch.setattr(module.click, "echo", echo)
    with Console().busy("thinking"):
        assert heard.wait(60)
    assert said == ["thinking ..."]


def test_short_work_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3600.0)
    with Console().busy("blinking"):
        (timer,) = timers()
    timer.join(60)
    assert not timer.is_alive()
    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.announce("hello")
    with console.busy("thinking"):
        assert timers() == []
    assert list(console.progress("counting", slowly(clock, 3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_broken_loop_closes_its_bar(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[int]:
        yield from slowly(clock, 3)
        raise ValueError("enough")

    console = Console()
    with pytest.raises(ValueError, match="enough"):
        list(console.progress("counting", broken()))
    assert capsys.readouterr().err == "counting ...\n"
    console._say_busy("thinking")  # no bar is left that would forbid it
    assert capsys.readouterr().err == "thinking ...\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("environment", "coloured", "told"),
    [
        ({"TERM": "xterm-256color"}, True, "counting"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False, "counting"),
        ({"TERM": "dumb"}, False, "counting ..."),
    ],
)
def test_bars_are_coloured_on_terminals_that_want_it(
    environment: dict[str, str], coloured: bool, told: str
) -> None:
    code = (
        "from graphopt.cli import console\n"
        "console.PATIENCE = -1\n"
        "for _ in console.Console().progress('counting', range(3), 3): pass\n"
    )
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, env={**clean, **environment}
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a pseudo-terminal ends
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert told in shown.decode()
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-9]", shown)) is coloured
