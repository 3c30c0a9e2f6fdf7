"""Some samples judge and are not fitted to, and where none could, a sentence says so."""

from __future__ import annotations

import pytest

from graphopt.solve import Unjudged, judges


@pytest.mark.parametrize(
    "samples, judging",
    [(1, []), (2, [1]), (7, [6]), (8, [7]), (9, [7]), (16, [7, 15])],
)
def test_which_samples_judge(samples: int, judging: list[int]) -> None:
    assert [number for number in range(samples) if judges(number, samples)] == judging


def test_what_is_said_of_fits_that_nothing_judged() -> None:
    assert Unjudged("prune", 1).sentence == ""
    single, broken = Unjudged("prune", 1), Unjudged("prune", 64)
    single.add("conv1")
    assert "prune fits no weights" in single.sentence and "at least 2" in single.sentence
    for layer in ("conv1", "conv2"):
        broken.add(layer)
    assert "'conv1' and 1 more layers" in broken.sentence and "not finite" in broken.sentence
