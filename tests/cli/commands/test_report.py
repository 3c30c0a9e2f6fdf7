"""``graphopt report`` from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.cli import app

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def runs(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[Path]:
    """The reports of two runs."""
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path, factor in zip(paths, ("1.01", "1.1"), strict=True):
        code = app.run(
            ["optimize", str(tiny), "--passes", f"scale:factor={factor}", "--report", str(path), "--force"]
        )
        assert code == 0, capsys.readouterr().err
    capsys.readouterr()
    return paths


def test_one_report_becomes_a_page(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "one.html"
    assert app.run(["report", str(runs[0]), "-o", str(page)]) == 0
    assert capsys.readouterr().out == f"written: {page}\n"
    text = page.read_text()
    assert "scale" in text and 'id="layers"' in text


def test_several_are_put_side_by_side(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    assert app.run(["report", *map(str, runs), "-o", str(page), "--quiet"]) == 0
    text = page.read_text()
    assert "2 runs side by side" in text and ">one<" in text and ">two<" in text


def test_optimize_writes_both_forms(tiny: Path, tmp_path: Path) -> None:
    flags = ["--report", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html")]
    assert app.run(["optimize", str(tiny), "--passes", "scale", *flags]) == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "r.json").read_text().startswith("{")


def test_wrong_calls(runs: list[Path], tmp_path: Path, fails: Callable[..., str]) -> None:
    page = tmp_path / "page.html"
    assert "missing.json cannot be read" in fails(2, "report", tmp_path / "missing.json", "-o", page)
    assert ".html" in fails(2, "report", runs[0], "-o", tmp_path / "page.txt")
    assert "not a report" in fails(2, "report", tmp_path / "tiny.onnx", "-o", page)
    page.write_text("mine")
    assert "exists" in fails(7, "report", runs[0], "-o", page)
    assert "cannot be written" in fails(7, "report", runs[0], "-o", tmp_path / "no" / "page.html")
