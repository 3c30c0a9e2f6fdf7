"""What a run says of its result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.pipeline.results import measure
from graphopt.runtime import Latency, PairedLatency


def paired(before: float, after: float, spread: float = 0.0) -> PairedLatency:
    a, b = (Latency(ms, ms, 50, spread) for ms in (before, after))
    return PairedLatency(a, b, after / before, spread)


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
    monkeypatch.setattr(measure, "paired_latency", lambda *_: paired(*times))
    result = graphopt.optimize(tiny, "drop-identity", output=tmp_path / "out.onnx")
    assert any("slower here than the input" in text for text in result.report.warnings) is said


def test_the_set_that_judged_is_told_by_its_content(
    fakes: SimpleNamespace, installed: Any, tmp_path: Path
) -> None:
    path = tmp_path / "in.onnx"
    path.write_bytes(fakes.build("N").SerializeToString())
    rng = np.random.default_rng(0)
    images = rng.standard_normal((6, 2, 4, 4)).astype(np.float32)
    sets = {"a": images, "same": images.copy(), "other": images[:5]}
    judged = {}
    for name, array in sets.items():
        np.savez(tmp_path / f"{name}.npz", x=array)
        flags = {"evaluation": str(tmp_path / f"{name}.npz"), "latency": False}
        judged[name] = graphopt.optimize(path, "drop-identity", **flags).report.judged_on
    assert judged["a"].sha256 == judged["same"].sha256 != judged["other"].sha256
    assert judged["other"].samples == 5 and judged["a"].source.endswith("a.npz")


def test_a_result_that_is_the_input_is_timed_once(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with it no difference between two timings of one file is reported."""
    monkeypatch.setattr(measure, "paired_latency", lambda *_: paired(1.0, 2.0))
    monkeypatch.setattr(measure, "latency", lambda *_: 3.0)
    proto = fakes.build()
    kept = [node for node in proto.graph.node if node.op_type != "Identity"]
    kept[2].input[0] = "r"  # what the Identity handed on
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    path = tmp_path / "in.onnx"
    path.write_bytes(proto.SerializeToString())
    for spec, expected in (("clean", 3.0), ("clean,sparsify", 2.0)):
        result = graphopt.optimize(path, spec)
        assert result.report.after.latency_ms == expected
