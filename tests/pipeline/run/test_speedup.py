"""The goal to be faster than the input."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline.results.result_measurer import Assessment, missed_goals
from graphopt.pipeline.spec.recipe import ScheduledPass, turns_of
from graphopt.pipeline.spec.request import Request
from graphopt.record.record import Measures
from graphopt.runtime.timing import Latency, PairedLatency


def turns() -> tuple[ScheduledPass, ...]:
    return turns_of("clean")


def found(before: float | None, after: float | None) -> Assessment:
    def measures(latency: float | None) -> Measures:
        return Measures(nodes=1, constants=0, parameters=1, macs=1, bytes=1, latency_ms=latency)

    return Assessment(measures(before), measures(after))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (2.0, 1.0, None),
        (2.0, 1.99, "not faster"),
        (2.0, 3.0, "3 ms against 2 ms"),
        (2.0, None, "not be measured"),
    ],
)
def test_a_result_that_is_not_faster_misses_the_goal(
    before: float, after: float | None, text: str | None
) -> None:
    missed = missed_goals(
        Request(model="m.onnx", turns=turns(), require_speedup=True), [], found(before, after)
    )
    assert (missed == []) if text is None else text in missed[0]
    assert missed_goals(Request(model="m.onnx", turns=turns()), [], found(before, after)) == []


@pytest.mark.parametrize(
    ("ratio", "spread", "text"),
    [
        (0.9, 0.02, None),
        (0.9, 0.15, "90.0 ± 13.5 % of its time"),  # the medians alone would say that it is faster
        (0.97, 0.001, None),
        (0.99, 0.001, "not faster"),
    ],
)
def test_where_both_were_run_in_turn_the_whole_interval_is_below(
    ratio: float, spread: float, text: str | None
) -> None:
    paired = PairedLatency(Latency(2.0, 2.0, 50, 0.01), Latency(2.0 * ratio, 1.0, 50, 0.01), ratio, spread)
    seen = replace(found(2.0, 2.0 * ratio), speed=paired)
    missed = missed_goals(Request(model="m.onnx", turns=turns(), require_speedup=True), [], seen)
    assert (missed == []) if text is None else text in missed[0]


def test_it_cannot_be_judged_without_latency() -> None:
    with pytest.raises(UsageError, match="--require-speedup needs the latency"):
        Request(model="m.onnx", turns=turns(), require_speedup=True, latency=False)
