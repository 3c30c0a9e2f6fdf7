"""The golden record: the same twice in a row, and what differs is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tools import golden

RUNS = ("clean", "quant-plain", "inspect")


def quiet(name: str) -> None:
    """Say nothing of the progress."""


@pytest.fixture(scope="module")
def record() -> dict[str, golden.Entry]:
    return golden.run_all(golden.select(RUNS), quiet)


def test_there_are_forty_runs_and_every_pass_is_in_one() -> None:
    from graphopt.pipeline.spec.registry import passes

    optimized = [case for case in golden.cases().values() if isinstance(case, golden.Case)]
    used = {step.split(":")[0] for case in optimized for step in case.passes.split(",")}
    assert len(golden.cases()) == 40
    assert {name for name in passes().names if name != "svd"} - used == {"distill"}  # it needs a trainer


def test_the_same_twice_in_a_row(record: dict[str, golden.Entry]) -> None:
    assert not [name for name, entry in record.items() if "refused" in entry]
    assert not golden.differences(record, golden.run_all(golden.select(RUNS), quiet))


def test_another_option_differs_in_file_plan_and_report(record: dict[str, golden.Entry]) -> None:
    case = golden.cases()["quant-plain"]
    assert isinstance(case, golden.Case)
    planted = {"quant-plain": replace(case, passes=case.passes + ":per_channel=false")}

    lines = golden.differences(record, {**record, **golden.run_all(planted, quiet)})

    parts = [line.removeprefix("quant-plain: ").split(" ")[0] for line in lines]
    assert parts == ["file", "plan", "report"]
    assert " at output_sha256" in lines[2]


def test_a_check_names_what_was_planted_in_the_record(
    record: dict[str, golden.Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    clean = {**record["clean"], "report": {**record["clean"]["report"], "after.nodes": "0"}}
    path.write_text(json.dumps({**record, "clean": clean}))

    assert golden.main([str(path), "--check", "--only", "clean"]) == 1
    assert capsys.readouterr().out == "clean: report at after.nodes\n"


def test_a_record_is_written_and_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.json"
    assert golden.main([str(path), "--only", "clean"]) == 0
    assert golden.main([str(path), "--check", "--only", "clean"]) == 0
    assert capsys.readouterr().out == "1 runs, nothing differs\n"


def test_runs_that_are_missing_or_refused_are_named() -> None:
    before = {"a": {"file": "1"}, "b": {"file": "1"}}
    assert golden.differences(before, {"a": {"refused": "PassError"}}) == [
        "a: file (1 -> none)",
        "a: refused (none -> PassError)",
        "b: only in the record",
    ]
