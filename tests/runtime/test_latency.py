"""Latency is measured in interleaved pairs; a stand-in session and clock make the figures predictable."""

from __future__ import annotations

import pytest

from graphopt.runtime import latency, paired_latency


class Clock:
    """Seconds that pass only when a session runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("graphopt.runtime.timing.perf_counter", clock)
    return clock


class Sleeper:
    """A session that takes a known time, and now and then twice that."""

    def __init__(self, clock: Clock, seconds: float, log: list[str], name: str, hiccup: int = 0) -> None:
        self.clock, self.seconds, self.log, self.name, self.hiccup = clock, seconds, log, name, hiccup

    def run(self, feeds: object) -> dict[str, object]:
        self.log.append(self.name)
        late = self.hiccup and self.log.count(self.name) % self.hiccup == 0
        self.clock.now += self.seconds * (2 if late else 1)
        return {}


def test_a_pair_is_interleaved_and_its_ratio_is_second_over_first(clock: Clock) -> None:
    log: list[str] = []
    slow, fast = Sleeper(clock, 0.008, log, "a", hiccup=3), Sleeper(clock, 0.002, log, "b", hiccup=4)
    result = paired_latency(slow, fast, {}, seconds=0.3)
    assert result.ratio == pytest.approx(0.25)
    assert result.speedup == 1 / result.ratio
    assert result.a.minimum_ms == pytest.approx(8) and result.b.minimum_ms == pytest.approx(2)
    assert result.a.rounds == result.b.rounds >= 5
    assert 0.3 < clock.now < 0.35
    timed = "".join(log[6:])
    assert timed.startswith("abbaabba") and timed.count("a") == timed.count("b")


def test_the_time_budget_ends_the_measurement_after_the_fewest_rounds(clock: Clock) -> None:
    log: list[str] = []
    result = latency(Sleeper(clock, 0.003, log, "a"), {}, seconds=0.0)
    assert result.rounds == 5
    assert len(log) == 5 + 3
    assert result.minimum_ms == pytest.approx(3) and result.median_ms == pytest.approx(3)


def test_rounds_stop_once_the_median_is_known(clock: Clock) -> None:
    result = latency(Sleeper(clock, 1.0, [], "a"), {}, seconds=1e9)
    assert result.rounds == 20 and result.median_ms == 1000 and result.spread == 0
