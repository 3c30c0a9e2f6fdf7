"""Measured ratios of whole networks: kept, so that what is planned by them repeats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt import ir
from graphopt.cost import Ratios
from graphopt.cost.latency import ratios
from tests.passes.lowrank.test_lowrank import residual


def measured(*values: float) -> Callable[[], float]:
    """A clock that tells these values, one a call, and fails after the last."""
    return iter(values).__next__


def test_a_pair_of_networks_is_measured_once(tmp_path: Path) -> None:
    one, two = residual(0), residual(1)
    assert Ratios.open(tmp_path, 1).of(one, two, measured(0.5)) == 0.5
    assert Ratios.open(tmp_path, 1).of(one.copy(), two.copy(), measured()) == 0.5
    assert Ratios.open(tmp_path, 1).of(two, one, measured(2.0)) == 2.0
    assert Ratios.open(tmp_path, 2).of(one, two, measured(0.7)) == 0.7  # other threads, other times
    assert Ratios.open(tmp_path, 1).of(one, two, measured()) == 0.5


def test_a_ratio_holds_for_what_it_was_measured_under(tmp_path: Path) -> None:
    one, two = residual(0), residual(1)
    found = Ratios.open(tmp_path, 1)
    assert [found.of(one, two, measured(value), under=f"batch {value}") for value in (0.5, 0.6)] == [0.5, 0.6]
    assert found.of(one, two, measured(), under="batch 0.5") == 0.5


def test_without_a_folder_nothing_is_kept() -> None:
    one, two = residual(0), residual(1)
    assert [Ratios.open(None, 1).of(one, two, measured(value)) for value in (0.5, 0.6)] == [0.5, 0.6]


def test_networks_too_large_to_compare_are_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratios, "LARGEST", 1)
    found = Ratios.open(tmp_path, 1)
    model: ir.Model = residual()
    assert [found.of(model, model, measured(value)) for value in (0.5, 0.6)] == [0.5, 0.6]
