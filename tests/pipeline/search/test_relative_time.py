"""Networks timed in turn: once for each pair and each size of their inputs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graphopt import ir
from graphopt.pipeline import Context
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.relative_time import relative_time
from tests.corpus._net import Net


def model(width: int) -> ir.Model:
    net = Net(0)
    out = net.conv(net.input(shape=("batch", 3, 8, 8)), (width, 3, 1, 1))
    return ir.from_bytes(net.model(out).SerializeToString())


def test_a_pair_is_timed_once_at_each_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def paired(a: Any, b: Any, feeds: Any, *, seconds: float) -> SimpleNamespace:
        sizes.append(feeds["x"].shape[0])
        return SimpleNamespace(ratio=0.5 + len(sizes) / 8)

    monkeypatch.setattr("graphopt.pipeline.search.relative_time.paired_latency", paired)
    wide, narrow = model(8), model(4)

    def ratio(batch: int) -> float:
        inputs = Inputs(wide, shapes={"x": (batch, 3, 8, 8)})
        return relative_time(wide, narrow, Context(inputs, RunSettings(times=tmp_path)))

    assert [ratio(batch) for batch in (1, 1, 4, 1, 4)] == [0.625, 0.625, 0.75, 0.625, 0.75]
    assert sizes == [1, 4]
