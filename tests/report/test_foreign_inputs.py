"""Looking at models whose inputs take no zeros and no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphopt
from graphopt import data, ir

IR8 = '<ir_version: 8, opset_import: ["" : 17]>'
EXPAND = f"{IR8} g (float[3,4] x, int64[2] s) => (float[3,4] y) {{ i = Identity (x)  y = Expand (i, s) }}"
MOD = f"{IR8} g (int32[4] a, int32[4] b) => (int32[4] y) {{ i = Identity (a)  y = Mod (i, b) }}"
BF16 = f"{IR8} g (bfloat16[2,3] x) => (float[2,3] y) {{ i = Identity (x)  y = Cast <to = 1> (i) }}"


@pytest.fixture(params=[EXPAND, MOD, BF16], ids=["shape", "divisor", "bfloat16"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    written = tmp_path / "m.onnx"
    written.write_bytes(onnx.parser.parse_model(request.param).SerializeToString())
    return written


def test_models_are_compared_on_samples_that_they_take(path: Path) -> None:
    found = graphopt.compare(path, path, latency=False)
    assert found.samples == 8 and found.outputs["y"]["max_abs"] == 0.0
    assert not found.outputs["y"]["unequal"]


def test_models_are_timed_on_samples_that_they_take(path: Path) -> None:
    assert graphopt.inspect(path, latency=True, cache="off").measures.latency_ms


def test_float_data_feed_a_bfloat16_input() -> None:
    model = ir.from_bytes(onnx.parser.parse_model(BF16.replace("[2,3]", "[N,3]")).SerializeToString())
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    samples = list(data.from_arrays({"x": values}, model.signature.inputs))
    assert [s.feeds["x"].dtype.name for s in samples] == ["bfloat16"] * 2
    np.testing.assert_array_equal(np.concatenate([s.feeds["x"] for s in samples]).astype(np.float32), values)
