"""The goal to be faster than the input."""

from __future__ import annotations

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline.results.result_measurer import Assessment, missed_goals
from graphopt.pipeline.spec.recipe import ScheduledPass, turns_of
from graphopt.pipeline.spec.request import Request
from graphopt.record.record import Measures


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


def test_it_cannot_be_judged_without_latency() -> None:
    with pytest.raises(UsageError, match="--require-speedup needs the latency"):
        Request(model="m.onnx", turns=turns(), require_speedup=True, latency=False)
