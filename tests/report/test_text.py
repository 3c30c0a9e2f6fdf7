"""Text tables fit their width, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.report import text

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=120)


@given(WORDS, st.integers(2, 40))
def test_folding_fits_and_loses_nothing(words: str, width: int) -> None:
    pieces = text.fold(words, width)
    assert all(text.columns(piece) <= width for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(words.split())


def test_wide_tables_fold_their_widest_cells(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_table(("name", "size"), [("n" * 200, "12"), ("\u6a21\u578b" * 40, "3")], right=[1])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(text.columns, lines)) <= text.WIDTH
    assert sum(line.count("n") for line in lines) == 200 + 1
    assert lines[3].endswith(" 12")


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
