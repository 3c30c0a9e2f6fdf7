"""``graphopt sensitivity`` from outside: tables, files and wrong calls."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from graphopt.cli import app
from graphopt.record.sensitivity import Point, Sensitivity
from graphopt.report.html.charts.sensitivity import draw
from graphopt.report.terminal.sensitivity import print_sensitivity


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    rng = np.random.default_rng(3)
    np.savez(path, x=rng.standard_normal((12, 2, 4, 4)).astype(np.float32))
    return path


def run(model: Path, samples: Path, *more: object) -> int:
    given = ("--calibration", samples, "--jobs", 1, "--threads", 1, "--cache", "off")
    return app.run([*map(str, ("sensitivity", model, *given, *more))])


def test_table_files_and_json(
    tiny: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, page, csv = (tmp_path / name for name in ("costs.svg", "costs.html", "costs.csv"))
    assert run(tiny, samples, "--pass", "quant", "--plot", plot, "--csv", csv) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    assert ET.parse(plot).getroot().tag.endswith("svg")
    assert csv.read_text().startswith("item,level,")
    assert run(tiny, samples, "--pass", "quant", "--plot", page, "--json", "--quiet") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["samples"] == 6
    assert not captured.err
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (("--pass", "quand"), 2, "did you mean 'quant'"),
        (("--pass", "fold-bn"), 2, "makes no plans"),
        (("--pass", "quant", "--plot", "costs.png"), 2, "written as .svg or .html"),
        (("--pass", "quant", "--samples", "0"), 2, "samples"),
        ((), 2, "--pass"),
        (("--pass", "quant", "--csv", "missing/costs.csv"), 7, "does not exist"),
    ],
)
def test_wrong_calls(
    tiny: Path,
    samples: Path,
    more: tuple[str, ...],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tiny, samples, *more) == code
    assert text in capsys.readouterr().err


def made(items: int, levels: tuple[float, ...], name: str = "layer") -> Sensitivity:
    points = tuple(
        Point(f"{name}{i}", level, 60 - 5 * i - level, 10.0 * level, 0.9 - level / 10, 100, 10)
        for i in range(items)
        for level in levels
    )
    return Sensitivity("m.onnx", "prune", 128, "data", points, 200, 10, top1=0.9)


@pytest.mark.parametrize("levels", [(1.0,), (0.1, 0.3, 0.5), tuple(n / 10 for n in range(9))])
@pytest.mark.parametrize("name", ["layer", "a/very/long/name/of/a/group/of/layers/that/takes/all/space/"])
def test_tables_fit(levels: tuple[float, ...], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_sensitivity(made(30, levels, name))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "-50.0 %" in out


def test_items_may_have_levels_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    points = tuple(
        Point(f"layer{i}", (i + 1) * level / 40, 50.0 - i - level, 2.0, 0.5, 100, 10)
        for i in range(9)
        for level in range(1, 5)
    )
    print_sensitivity(Sensitivity("m.onnx", "prune", 128, "data", points, 200, 10))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "38.0 @0.9" in out and out.index("layer8") < out.index("layer0")


def test_failed_trials_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    points = tuple(Point(f"layer{i}", 1.0, error="no way") for i in range(5))
    print_sensitivity(Sensitivity("m.onnx", "prune", 1, "data", points, None, 0))
    out = capsys.readouterr().out
    assert "layer0 at 1: no way" in out
    assert "2 more trials" in out


def test_plots_escape_names_and_stand_empty_results() -> None:
    for found in (made(20, (0.1, 0.9), "<&>"), made(0, ()), made(1, (1.0,))):
        root = ET.fromstring(draw(found))
        assert root.tag.endswith("svg")
    lines = [e for e in ET.fromstring(draw(made(20, (0.1, 0.9), "<&>"))).iter() if e.tag.endswith("path")]
    assert len(lines) == 20
