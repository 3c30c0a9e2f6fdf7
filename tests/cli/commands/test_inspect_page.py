"""``graphopt inspect --html`` from outside: a page beside the table, wrong places said before the work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from graphopt.cli import app


def test_a_page_is_written_beside_the_table(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "tiny.html"
    assert app.run(["inspect", str(tiny), "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert "GlobalAveragePool" in told and "share" not in told  # the table is that without --layers
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>") and text.count('data-row="') == 6
    assert app.run(["inspect", str(tiny), "--html", str(page), "--json", "--latency"]) == 0
    assert len(json.loads(capsys.readouterr().out)["reads"]) == 6
    assert 'data-by="time"' in page.read_text("utf-8")  # an earlier page is replaced, as reports are
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tiny.html", "tiny.onnx"]


def test_names_in_a_model_file_do_not_act(tiny: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny)
    for node in model.graph.node:
        node.name = "<script>alert(1)</script>" + node.name
    onnx.save(model, tiny)
    page = tmp_path / "tiny.html"
    assert app.run(["inspect", str(tiny), "--html", str(page), "--quiet"]) == 0
    text = page.read_text("utf-8")
    assert text.count("<script>") == 1 and "&lt;script&gt;alert(1)" in text


def test_wrong_places_are_said_before_the_work(tiny: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    named = tmp_path / "model.html"
    named.write_bytes(tiny.read_bytes())
    assert "it is written as .html" in fails(2, "inspect", tiny, "--html", tmp_path / "page.txt")
    assert "does not exist" in fails(7, "inspect", tiny, "--html", tmp_path / "no" / "page.html")
    assert "name the same file" in fails(2, "inspect", named, "--html", named)
    page = tmp_path / "page.html"
    assert "name the same file" in fails(2, "inspect", tiny, "--html", page, "--annotate", page)
    assert "given 2 times" in fails(2, "inspect", tiny, "--html", page, "--html", page)
    assert "does not exist" in fails(3, "inspect", tmp_path / "missing.onnx", "--html", page)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_forbids_writing(tiny: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written to" in fails(7, "inspect", tiny, "--html", closed / "page.html")
