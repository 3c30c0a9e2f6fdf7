"""Records are saved as pages by views that are registered, which they do not import."""

from __future__ import annotations

import importlib

import pytest

from graphopt.util.pages import VIEWS, rendered


@pytest.mark.parametrize("kind", ["report", "front", "inspection"])
def test_a_registered_view_is_a_function_of_the_report(kind: str) -> None:
    module, _, function = VIEWS[kind].partition(":")
    assert module == "graphopt.report.html"
    assert callable(getattr(importlib.import_module(module), function))


def test_a_view_is_called_with_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIEWS, "sum", "operator:add")
    assert rendered("sum", "one ", "two") == "one two"
