"""The progress of a whole run: it grows, ends at all of it, and says what is left from measured times."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from graphopt.cli import console as module
from graphopt.cli.app import cli
from graphopt.cli.console import Console
from graphopt.util.phases import Overall, duration, expected_seconds, keep_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_share_grows_and_reaches_all() -> None:
    clock = Clock()
    run = Overall(["clean", "prune", "timing"], {"clean": 1, "prune": 8, "timing": 1}, clock)
    shares = [run.share]
    for name in ("clean", "prune", "timing"):
        assert run.enter(name)
        for _ in range(3):  # loops of which nobody knows how many there will be
            run.loop(name)
            for done in range(4):
                clock.now += 0.1
                run.step(name, done, 4)
                shares.append(run.share)
        run.leave(name)
        shares.append(run.share)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert run.measured == {name: pytest.approx(1.2) for name in ("clean", "prune", "timing")}


def test_the_time_left_is_that_of_earlier_runs_stretched_by_this_one() -> None:
    clock = Clock()
    run = Overall(["clean", "prune"], {"clean": 10.0, "prune": 30.0}, clock)
    assert run.left is None
    run.enter("clean")
    clock.now = 20.0  # twice what was expected
    run.leave("clean")
    assert run.left == pytest.approx(60) and "25 % after 20 s, about 60 s left" in run.line()


def test_a_pass_that_runs_twice_has_two_phases() -> None:
    run = Overall(["prune", "quant", "prune"], {}, Clock())
    for name, place in (("prune", "1/3"), ("quant", "2/3"), ("prune", "3/3")):
        assert run.enter(name) and run.place == place
        run.leave(name)
    assert not run.enter("running the result") and run.doing == "running the result"


def test_times_are_kept_and_what_is_broken_is_passed_over(tmp_path: Path) -> None:
    keep_seconds({"prune": 3.0}, tmp_path)
    keep_seconds({"quant": 2.0}, tmp_path)
    assert expected_seconds(tmp_path) == {"prune": 3.0, "quant": 2.0}
    for text in ("", "[]", "{", '{"prune": "x", "quant": -1}'):
        (tmp_path / "phases.json").write_text(text)
        assert expected_seconds(tmp_path) == {}
    keep_seconds({"prune": 1.0}, tmp_path / "phases.json")  # a file where the folder would be


def test_a_log_gets_its_line_while_a_phase_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINUTE", 0.01)
    said: list[str] = []
    heard = threading.Event()

    def echo(text: str, err: bool) -> None:
        said.append(text)
        heard.set()

    monkeypatch.setattr(module.click, "echo", echo)
    with Console() as console:
        console.phases(["prune"])
        with console.busy("prune"):
            assert heard.wait(60)
    assert said[0].startswith("0 % after ") and ": prune" in said[0]
    assert "graphopt" not in {thread.name for thread in threading.enumerate()}


def test_quiet_has_no_display(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True) as console:
        console.phases(["prune"])
        assert console._run is None
    assert capsys.readouterr().err == ""


def test_durations() -> None:
    assert [duration(s) for s in (3.4, 89, 150, 3900)] == ["3 s", "89 s", "2 min", "1 h 5 min"]


def test_json_is_the_report_and_nothing_else(tiny: Path, tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    flags = ["--no-latency", "-o", str(tmp_path / "out.onnx"), "--report", str(report), "--json"]
    result = CliRunner().invoke(cli, ["optimize", str(tiny), *flags], standalone_mode=False)
    assert json.loads(result.stdout) == json.loads(report.read_text())
