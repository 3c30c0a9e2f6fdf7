"""The tool that tries constants at other values: what it asks for is there, and a module gets the value."""

from __future__ import annotations

import importlib.util

import pytest

from tools.bench import constants

LEAST_SQUARES = "graphopt.solve.least_squares"


def test_a_module_is_loaded_with_the_value_in_its_defaults_too() -> None:
    from graphopt.solve import least_squares

    package = importlib.util.find_spec("graphopt.solve")
    assert package is not None
    finder = constants._Finder([(LEAST_SQUARES, "RELATIVE", 0.5), (LEAST_SQUARES, "RELATIVE_BIAS", 0.25)])
    assert finder.find_spec("graphopt.solve.limits", package.submodule_search_locations) is None
    spec = finder.find_spec(LEAST_SQUARES, package.submodule_search_locations)
    assert spec is not None and spec.loader is not None
    changed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(changed)
    assert (changed.RELATIVE, changed.RELATIVE_BIAS) == (0.5, 0.25)
    assert least_squares.RELATIVE != 0.5
    assert changed.damping.__defaults__ == (0.5,)
    assert changed.ENOUGH == least_squares.ENOUGH


@pytest.mark.parametrize("question", constants.QUESTIONS, ids=lambda q: f"{q.module}.{q.name}")
def test_what_is_asked_for_is_there(question: constants.Question) -> None:
    written = constants._written(importlib.util.find_spec(question.module), question.name)
    asked = question.asked()
    assert written not in asked and len(asked) == len(set(asked)) > 0
    if not question.values:
        assert asked == (type(written)(written / 2), 2 * written)


def test_values_are_tried_one_by_one_or_all_at_once() -> None:
    questions = [constants.Question("m", "A", "quant", (1, 2)), constants.Question("m", "B", "quant", (3, 4))]
    one, two, three, four = [("m", "A", 1)], [("m", "A", 2)], [("m", "B", 3)], [("m", "B", 4)]
    apart = [(), *map(tuple, (one, two, three, four))]
    assert list(constants._changes(questions, together=False)) == apart
    assert list(constants._changes(questions, together=True)) == [(), (*one, *three), (*two, *four)]
