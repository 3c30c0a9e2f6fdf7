"""The front of a sweep: what no other trial beats, and nothing that is broken."""

from __future__ import annotations

import math

from graphopt.pipeline.search.degradation import Loss
from graphopt.pipeline.search.sweep import Sweep, Swept
from graphopt.pipeline.search.trials import Tried


def swept(number: int, left: float, points: float) -> Swept:
    return Swept((number,), points, Tried(left, Loss(points, points, points / 100), (points / 100,)))


def test_the_front_is_what_no_other_trial_beats() -> None:
    trials = [
        swept(0, 0.5, 1.0),
        swept(1, 0.4, 3.0),
        swept(2, 0.6, 1.0),
        swept(3, 0.4, 2.0),
        swept(4, 0.9, 0.1),
    ]
    assert [one.choice for one in Sweep(tuple(trials), {}).front] == [(3,), (0,), (4,)]


def test_a_model_whose_answers_are_no_numbers_is_no_point() -> None:
    broken = [swept(0, 0.1, math.inf), swept(1, 0.2, math.nan)]
    assert Sweep(tuple(broken), {}).front == ()
    assert [one.choice for one in Sweep((*broken, swept(2, 0.5, 1.0)), {}).front] == [(2,)]


def test_what_the_input_beats_is_no_point() -> None:
    trials = (swept(0, 1.0, 0.0), swept(1, 1.1, 2.0), swept(2, 0.9, 0.5))
    assert [one.choice for one in Sweep(trials, {}).front] == [(2,)]
    assert [one.choice for one in Sweep((*trials, swept(3, 1.0, -0.5)), {}).front] == [(2,), (3,)]
