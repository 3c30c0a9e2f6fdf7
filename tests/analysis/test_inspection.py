"""The roof under which an inspection puts its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphopt import cost
from graphopt.analysis.inspection import inspect
from graphopt.cost import LatencyTable, Peaks


def test_the_roof_is_measured_beside_the_layers_and_none_beats_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roof that is far too low, as from a moment of load, is raised to what layers reach; none is kept."""
    folders: list[Any] = []

    def opened(cache: Path | None, *_: Any, **__: Any) -> None:
        folders.append(cache)

    monkeypatch.setattr(LatencyTable, "open", opened)
    monkeypatch.setattr(cost, "peaks", lambda table: Peaks(1e3, 1e3))
    found = inspect(tiny, layers=True, latency=True)
    assert folders == [None] and found.timing is not None
    rated = [layer for layer in found.layers if layer.macs and layer.bytes and layer.latency_ms]
    assert rated
    for layer in rated:
        roof = min(found.timing.macs_per_second, found.timing.bytes_per_second * layer.macs / layer.bytes)
        assert 1e3 * layer.macs / layer.latency_ms <= roof * 1.0001
