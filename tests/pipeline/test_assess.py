"""What a run says of its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphopt
from graphopt.report import measure


@pytest.mark.parametrize(
    ("times", "said"), [((2.0, 3.0), True), ((2.0, 2.05), False), ((0.01, 0.02), False), ((3.0, 2.0), False)]
)
def test_a_slower_result_is_said(
    times: tuple[float, float],
    said: bool,
    installed: Any,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "paired_latency", lambda *_: times)
    result = graphopt.optimize(tiny, "drop-identity", output=tmp_path / "out.onnx")
    assert any("slower here than the input" in text for text in result.report.warnings) is said
