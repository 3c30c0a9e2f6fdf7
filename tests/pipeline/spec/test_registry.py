"""Passes are found by name, imported when used, and a broken one does not break the list."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline.spec.registry import Broken, Registry
from graphopt.pipeline.spec.spec import PassSpec, parse


def never() -> None:
    raise AssertionError("imported although only its name was asked for")


def test_names_are_known_without_importing(fakes: Any) -> None:
    assert Registry([fakes.Point("b", never), fakes.Point("a", never)]).names == ("a", "b")


def test_a_step_becomes_a_frozen_pass(registry: Any) -> None:
    made = registry.make(parse("scale:factor=1.5:only=a|b").steps[0])
    assert (made.factor, made.only, made.limit) == (1.5, ("a", "b"), None)
    with pytest.raises(AttributeError):
        made.factor = 2.0


def test_the_nearest_known_names_are_given(registry: Any) -> None:
    with pytest.raises(UsageError, match="did you mean 'scale'"):
        registry.make(PassSpec("scalle"))
    with pytest.raises(UsageError, match="did you mean 'factor'"):
        registry.make(PassSpec("scale", (("facter", "1"),)))


def test_a_missing_package_is_named(fakes: Any) -> None:
    def load() -> None:
        import no_such_package  # noqa: F401

    registry = Registry([fakes.Point("broken", load)])
    found = registry.find("broken")
    assert isinstance(found, Broken)
    assert found.hint == "pip install no_such_package"
    with pytest.raises(UsageError, match=r"broken cannot be loaded: No module named 'no_such_package'"):
        registry.make(PassSpec("broken"))


def test_any_failure_of_a_plugin_is_told(fakes: Any) -> None:
    def load() -> None:
        raise RuntimeError("no GPU")

    assert "RuntimeError: no GPU" in Registry([fakes.Point("broken", load)]).find("broken").reason


def test_two_packages_with_one_name_are_refused(fakes: Any) -> None:
    first, second = fakes.Point("same", never), fakes.Point("same", never)
    second.value = "elsewhere:Same"
    with pytest.raises(UsageError, match="both register a pass named 'same'"):
        Registry([first, second])
