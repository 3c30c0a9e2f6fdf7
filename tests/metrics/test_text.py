"""Lines are read greedily from scores of steps, and one wrong character makes a line wrong."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.data import Sample
from graphopt.errors import ModelError
from graphopt.metrics.text import Text

SAMPLE = Sample({"x": np.zeros((2, 3, 8, 32), np.float32)}, None, None, (0, 1), (None, None))


def scores(*lines: list[int], classes: int = 5) -> dict[str, np.ndarray]:
    return {"steps": np.eye(classes, dtype=np.float32)[np.asarray(lines)]}


def test_equal_neighbours_are_one_character_and_blanks_none() -> None:
    judge = Text()
    read = scores([1, 1, 0, 1, 2, 2], [0, 3, 0, 0, 4, 4])
    judge.update(read, None, SAMPLE, [np.array([1, 1, 2, -1]), np.array([3, 4, 0, 0])])
    assert judge.outcome().metrics == {"lines": 1.0}
    judge = Text()
    judge.update(read, None, SAMPLE, [np.array([1, 2, 0, 0]), np.array([3, 4, 0, 0])])
    assert judge.outcome().metrics == {"lines": 0.5}


def test_agreement_and_its_change() -> None:
    good, bad = scores([1, 0, 2], [3, 3, 4]), scores([1, 1, 2], [3, 3, 3])
    judge = Text()
    judge.update(bad, good, SAMPLE, [[1, 2], [3, 4]])
    outcome = judge.outcome()
    assert outcome.agreement == outcome.metrics == {"lines": 0.5}
    assert judge.drop(outcome) == 50.0
    judge = Text()
    judge.update({"steps": np.full((2, 3, 5), np.nan, np.float32)}, good, SAMPLE, None)
    assert judge.drop(judge.outcome()) == 100.0


def test_outputs_without_steps_are_refused() -> None:
    with pytest.raises(ModelError, match="no single output"):
        Text().update({"y": np.zeros((2, 5), np.float32)}, None, SAMPLE, None)
