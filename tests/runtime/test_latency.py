"""Latency is measured in interleaved pairs; a stand-in session makes the figures predictable."""

from __future__ import annotations

import time

import pytest

from graphopt.runtime import latency, paired_latency


class Sleeper:
    """A session that takes a known time."""

    def __init__(self, seconds: float, log: list[str], name: str) -> None:
        self.seconds, self.log, self.name = seconds, log, name

    def run(self, feeds: object) -> dict[str, object]:
        self.log.append(self.name)
        time.sleep(self.seconds)
        return {}


def test_a_pair_is_interleaved_and_its_ratio_is_second_over_first() -> None:
    log: list[str] = []
    slow, fast = Sleeper(0.008, log, "a"), Sleeper(0.002, log, "b")
    result = paired_latency(slow, fast, {}, seconds=0.3)
    assert 0.1 < result.ratio < 0.7  # 0.25, with room for a busy machine
    assert result.speedup == 1 / result.ratio
    assert result.a.minimum_ms >= 8 and result.b.minimum_ms >= 2
    assert result.a.rounds == result.b.rounds >= 5
    timed = "".join(log[6:])
    assert timed.startswith("abbaabba") and timed.count("a") == timed.count("b")


def test_the_time_budget_ends_the_measurement_after_the_fewest_rounds() -> None:
    log: list[str] = []
    result = latency(Sleeper(0.003, log, "a"), {}, seconds=0.0)
    assert result.rounds == 5
    assert len(log) == 5 + 3
    assert result.minimum_ms <= result.median_ms


def test_rounds_stop_once_the_median_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("graphopt.runtime.timing.perf_counter", lambda: float(next(ticks)))
    result = latency(Sleeper(0.0, [], "a"), {}, seconds=1e9)
    assert result.rounds == 20 and result.median_ms == 1000 and result.spread == 0
