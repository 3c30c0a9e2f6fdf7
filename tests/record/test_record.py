"""The record becomes JSON that any reader takes, and a table that says what matters."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from graphopt.errors import OutputError
from graphopt.record.record import Calibration, Change, Measures, PassRecord, Record, Skip
from graphopt.report.terminal.run import amount, print_record

RECORD = Record(
    graphopt="1.0",
    command=("graphopt", "optimize"),
    input="in.onnx",
    output="out.onnx",
    model_sha256="a",
    output_sha256="b",
    target="ort-cpu",
    seed=0,
    shapes={"x": (1, 3)},
    preprocess={},
    machine={"cpu": "c", "isa": "i", "threads": 1, "onnxruntime": "1"},
    calibration=Calibration("synthetic", 64),
    before=Measures(10, 1, 1000, None, 4000, 1.5, {"top1": 0.9}),
    after=Measures(5, 1, 500, 100, 2000, 0.75, {"top1": 0.885}),
    agreement={"top1": 0.95, "snr_db": {"y[0]": 42.0}},
    passes=(
        PassRecord("fold-bn", {}, True, 0.1, (Change("[conv]", "folded"),), (), max_abs_diff=1e-6),
        PassRecord(
            "prune", {"macs": 0.5}, False, 0.2, (), (Skip("a", "why"), Skip("b", "why")), snr_db=math.inf
        ),
    ),
    warnings=("mind [this]",),
    missed=("the goal",),
)


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["schema"] == 1
    assert found["shapes"] == {"x": [1, 3]}
    assert found["passes"][0]["max_abs_diff"] == 1e-6
    assert "snr_db" not in found["passes"][0] and "plan" not in found["passes"][0]
    assert found["passes"][1]["snr_db"] is None
    assert found["passes"][1]["skips"] == [{"node": "a", "reason": "why"}, {"node": "b", "reason": "why"}]


def test_numpy_numbers_become_plain() -> None:
    record = dataclasses.replace(RECORD, seed=np.int64(3), agreement={"top1": np.float32(0.5)})
    assert json.loads(json.dumps(record.to_json()))["agreement"] == {"top1": 0.5}


def test_a_report_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        RECORD.write(tmp_path / "no" / "report.json")


def test_the_table_says_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    print_record(RECORD, verbose=True)
    out = capsys.readouterr().out
    for words in (
        *("fold-bn (added)", "prune CHANGED NOTHING", "[conv]: folded", "a stays: why", "-50.0 %"),
        *("-1.50 points", "y[0]: 42.0 dB", "mind [this]", "GOAL MISSED: the goal", "written: out.onnx"),
        *("calibration: synthetic, 64 samples", "unknown"),
    ):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_reasons_are_counted_where_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    print_record(RECORD)
    assert "2 x why" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "unknown"),
        (None, "ms", "-"),
        (0, "", "0"),
        (999, "B", "999 B"),
        (12_345, "", "12.35 k"),
        (1_250_000, "", "1.25 M"),
        (4_400_000_000, "B", "4.4 GB"),
        (0.8214, "ms", "0.821 ms"),
        (1234.5, "ms", "1234 ms"),
    ],
)
def test_amounts(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text
