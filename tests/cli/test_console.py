"""Work that takes long is seen on stderr; short work is not."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from graphopt.cli import console as module
from graphopt.cli.console import Console


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)


def slowly(count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(0.015)
        yield number


def test_a_long_loop_is_announced_once_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Console().progress("counting", slowly(5), 5)) == list(range(5))
    assert capsys.readouterr().err == "counting ...\n"


def test_a_short_loop_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Console().progress("counting", range(5))) == list(range(5))
    assert capsys.readouterr().err == ""


def test_long_work_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().busy("thinking"):
        time.sleep(0.1)
    with Console().busy("blinking"):
        pass
    time.sleep(0.05)
    assert capsys.readouterr().err == "thinking ...\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.announce("hello")
    with console.busy("thinking"):
        assert list(console.progress("counting", slowly(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_broken_loop_closes_its_bar() -> None:
    def broken() -> Iterator[int]:
        yield from slowly(3)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        list(Console().progress("counting", broken()))


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
        "import time\n"
        "from graphopt.cli import console\n"
        "console.PATIENCE = 0\n"
        "for _ in console.Console().progress('counting', range(20), 20): time.sleep(0.01)\n"
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
