"""Text tables fit their width, whatever stands in them."""

from __future__ import annotations

import contextlib
import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from graphopt.report.terminal import text

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=120)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_tables_fit_and_lose_nothing(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        text.print_table(("name", "size"), rows, right=[1])
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= text.WIDTH
    shown = Counter("".join(out.getvalue().split()))
    assert not Counter("".join("".join(map("".join, rows)).split())) - shown


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_long_tables_fit_and_lose_nothing(rows: list[tuple[str, str]]) -> None:
    many = rows * (1 + text.LONG // len(rows))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        text.print_table(("name", "size"), many, right=[1])
    lines = out.getvalue().split("\n")
    assert max(map(cell_len, lines)) <= text.WIDTH
    shown = Counter("".join(out.getvalue().split()))
    assert not Counter("".join("".join(map("".join, many)).split())) - shown


def test_long_tables_look_like_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("/conv[0]/weight", "12"), ("a" * 100, "3")]
    drawn = []
    for limit in (500, 1):
        monkeypatch.setattr(text, "LONG", limit)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            text.print_table(("node", "size"), rows, right=[1])
        drawn.append([line.rstrip() for line in out.getvalue().splitlines() if line.strip()])
    assert drawn[0] == drawn[1]


def test_markup_in_names_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_table(("node", "what"), [("/conv[0]/weight", "[red]x[/red]")])
    assert "/conv[0]/weight" in (out := capsys.readouterr().out) and "[red]x[/red]" in out


def test_paths_in_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/very/long/" + "x" * 100 + ".onnx"
    text.print_line(f"written: {path} and some more words", "loud")
    out = capsys.readouterr().out
    assert path in out and "\x1b" not in out


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_styles_show_on_terminals_that_want_them(
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    text.print_line("careful", "warning")
    assert ("\x1b[33m" in capsys.readouterr().out) is coloured


def test_names_in_a_listing_are_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["/blocks/blocks.0/conv_pw/Conv_quant_projection", "/head/" + "deep/" * 12 + "Gemm"]
    text.print_listing(
        ("layer", "operator", "MACs"), [(name, "Conv", "12.5 M") for name in names], right=(2,)
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.strip() in names] == names
    assert max(len(line) for line in lines if line.strip() not in names) <= text.WIDTH
    text.print_listing(("layer", "operator", "MACs"), [("conv", "Conv", "1")], right=(2,))
    assert any(line.split() == ["conv", "Conv", "1"] for line in capsys.readouterr().out.splitlines())
