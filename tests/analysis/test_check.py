"""The gate: every limit holds or breaks as a measurement by other means says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

import graphopt
from graphopt.cli.app import cli
from graphopt.errors import DataError, UsageError
from graphopt.report.export import check_files


@pytest.fixture
def worse(tiny: Path, tmp_path: Path) -> Path:
    """The classifier with the weights of its last layer negated: every answer changes."""
    model = onnx.load(tiny)
    weight = next(entry for entry in model.graph.initializer if entry.name == "fc")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), "fc"))
    path = tmp_path / "worse.onnx"
    onnx.save(model, path)
    return path


def test_the_drop_against_a_model_is_the_difference_of_two_evaluations(
    tiny: Path, worse: Path, labelled: Path
) -> None:
    before, after = (graphopt.evaluate(path, labelled).metrics["top1"] for path in (tiny, worse))
    lost = 100 * (before - after)
    for limit, holds in ((lost + 0.01, True), (lost - 0.01, False)):
        if limit >= 0:
            found = graphopt.check(worse, tiny, max_drop=limit, data=labelled)
            assert found.passed is holds and found.criteria[0].value == pytest.approx(lost)
    same = graphopt.check(tiny, tiny, max_drop=0, data=labelled)
    assert same.passed and same.criteria[0].value == 0


def test_without_labels_the_answers_that_changed_count(tiny: Path, worse: Path) -> None:
    x = np.random.default_rng(0).standard_normal((16, 2, 4, 4)).astype(np.float32)
    agreement = graphopt.compare(tiny, worse, data=x, latency=False).agreement["top1"]
    found = graphopt.check(worse, tiny, max_drop=5, data=x)
    assert found.criteria[0].value == pytest.approx(100 * (1 - agreement)) and not found.passed


def test_a_report_is_a_baseline_for_the_samples_that_it_was_judged_on(
    tiny: Path, worse: Path, labelled: Path, tmp_path: Path
) -> None:
    report = tmp_path / "run.json"
    graphopt.optimize(tiny, "clean", evaluation=labelled, latency=False, report=report)
    assert graphopt.check(tiny, report, max_drop=0, data=labelled).passed
    by_model = graphopt.check(worse, tiny, max_drop=0, data=labelled).criteria[0].value
    assert graphopt.check(worse, report, max_drop=0, data=labelled).criteria[0].value == pytest.approx(
        by_model
    )
    with pytest.raises(DataError, match="was judged on other samples"):
        graphopt.check(tiny, report, max_drop=0, data=f"{labelled}::6")
    with pytest.raises(UsageError, match="holds no latency"):
        graphopt.check(tiny, report, max_latency_ratio=1)


def test_latency_of_another_processor_is_no_baseline(tiny: Path, tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    graphopt.optimize(tiny, "clean", latency=False, report=report)
    document = json.loads(report.read_text())
    document["after"]["latency_ms"] = 1e9
    report.write_text(json.dumps(document))
    assert graphopt.check(tiny, report, max_latency_ratio=1).passed
    document["machine"]["cpu"] = "Another One"
    report.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="was measured on Another One"):
        graphopt.check(tiny, report, max_latency_ratio=1)


def test_bytes_and_operators(tiny: Path) -> None:
    size = tiny.stat().st_size
    assert graphopt.check(tiny, tiny, max_bytes=size).passed
    assert not graphopt.check(tiny, tiny, max_bytes=size - 1).passed
    found = graphopt.check(tiny, tiny, forbid=["Conv", "com.microsoft:Conv", "Einsum"])
    assert [criterion.passed for criterion in found.criteria] == [False, True, True]
    assert found.criteria[0].text == "Conv occurs 1 times"


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({}, "nothing to check"),
        ({"max_drop": 1}, "--max-drop needs --data"),
        ({"max_drop": -1}, "--max-drop takes a number from 0"),
        ({"max_bytes": "1 MB"}, "--max-bytes takes a number"),
        ({"max_latency_ratio": 0}, "can never hold"),
        ({"max_latency_ratio": float("nan")}, "takes a number"),
    ],
)
def test_limits_that_cannot_be_judged_are_refused(tiny: Path, limits: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        graphopt.check(tiny, tiny, **limits)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"after": {"bytes": 1}}', "\x00"])
def test_a_file_that_is_no_report_is_said(tiny: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="is not a report of graphopt optimize"):
        graphopt.check(tiny, path, max_bytes=1)


def test_the_command_writes_files_for_ci_and_exits_with_6(tiny: Path, tmp_path: Path) -> None:
    junit, markdown = tmp_path / "check.xml", tmp_path / "check.md"
    flags = ["--baseline", str(tiny), "--forbid", "Conv", "--max-bytes", "100000"]
    files = ["--junit", str(junit), "--markdown", str(markdown)]
    result = CliRunner().invoke(cli, ["check", str(tiny), *flags, *files], standalone_mode=False)
    assert result.return_value == 6
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.find("failure") is not None for case in suite] == [False, True]
    assert "| no Conv | **failed** | Conv occurs 1 times |" in markdown.read_text()
    passed = CliRunner().invoke(
        cli, ["check", str(tiny), *flags[:2], *flags[4:], "--json"], standalone_mode=False
    )
    assert passed.return_value == 0 and json.loads(passed.stdout)["passed"] is True


@pytest.mark.parametrize("write", [check_files.junit, check_files.markdown])
def test_names_of_a_model_cannot_break_the_files(write: Callable[[Any], str]) -> None:
    from graphopt.analysis.check import Check, Criterion

    odd = "a<b>&\"'|`\x01\n"
    text = write(Check(odd, odd, (Criterion(odd, 1, 0, False, odd), Criterion(odd, 0, 0, True, odd))))
    if write is check_files.junit:
        assert len(ElementTree.fromstring(text.split("\n", 1)[1])) == 2
    else:
        assert sum(line.startswith("| ") for line in text.splitlines()) == 3 and "<b>" not in text
