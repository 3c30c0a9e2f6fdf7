"""Campaigns go on behind processes that die, keep what is done, and say what failed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import campaign as module
from tests.fuzz.campaign import Result, campaign, summary

WORKER = """
import json, os, sys
first, end, dies = map(int, sys.argv[1:])
for seed in range(first, end):
    print(json.dumps({"begin": [seed, "clean"]}), flush=True)
    if seed == dies:
        os._exit(9)
    print(json.dumps({"seed": seed, "spec": "clean", "kind": "ok"}), flush=True)
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Ranges that processes were started with; each dies at seed 3."""
    ranges: list[tuple[int, int]] = []

    def start(first: int, end: int, specs: Sequence[str]) -> Any:
        ranges.append((first, end))
        command = [sys.executable, "-c", WORKER, str(first), str(end), "3"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(module, "_start", start)
    return ranges


def test_a_process_that_dies_is_a_result_and_the_next_goes_on(started: list[tuple[int, int]]) -> None:
    results = campaign(0, 6, ["clean"])
    assert [result.kind for result in results] == ["ok", "ok", "ok", "crash", "ok", "ok"]
    assert started == [(0, 6), (4, 6)]


def test_what_is_done_is_not_done_again(started: list[tuple[int, int]], tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    campaign(0, 6, ["clean"], state=state)
    assert len(state.read_text().splitlines()) == 6
    started.clear()
    results = campaign(0, 8, ["clean"], state=state)
    assert started == [(6, 8)]
    assert sorted(result.seed for result in results) == list(range(8))


def test_the_real_worker_writes_results(tmp_path: Path) -> None:
    results = campaign(0, 2, ["clean"])
    assert [(result.seed, result.spec) for result in results] == [(0, "clean"), (1, "clean")]
    assert json.dumps([result.kind for result in results])
    assert not any(result.kind == "crash" for result in results)


def test_the_summary_groups_by_cause() -> None:
    results = [
        Result(7, "quant", "crash", "KeyError a.py:1"),
        Result(5, "prune", "crash", "KeyError a.py:1"),
        Result(6, "quant", "ok"),
    ]
    text = summary(results)
    assert "quant: 1 ok, 1 crash" in text
    assert "crash 2x: KeyError a.py:1\n    seed 5 --spec prune" in text
    assert text.endswith("3 runs, 2 failed")
