"""The plots that passes left, as they are drawn."""

from __future__ import annotations

import pytest

from graphopt.record.plots import charts, make_figure
from graphopt.report.html.charts.bars import LETTERS, ROWS


def drawn(kind: str, **data: object) -> str:
    made = make_figure(kind, "t", data)
    return str(charts().load(kind).draw(made.title, made.data))


def test_only_bins_that_are_cut_off_whole_are_red() -> None:
    """The largest value lies inside the last bin: a range that ends there cuts nothing off."""
    whole = drawn("histogram", low=-1.0, high=1.0, counts=[1, 2, 3, 4], thresholds=[-0.9, 0.6])
    assert whole.count('class="bar"') == 4
    cut = drawn("histogram", low=-1.0, high=1.0, counts=[1, 2, 3, 4], thresholds=[-0.6, 0.4])
    assert cut.count('class="bar faint"') == 1


@pytest.mark.parametrize("count", [1, ROWS, ROWS + 1])
def test_every_bar_has_its_size_and_its_name(count: int) -> None:
    names, values = [f"layer{i}" for i in range(count)], [float(i) - 2.0 for i in range(count)]
    page = drawn("bars", names=names, values=values, limit=1.0)
    assert page.count("<polygon") == count and "<rect" not in page
    assert all(f"<title>{name}: " in page for name in names)
    assert (">layer0</text>" in page) is (count <= ROWS)
    assert 'class="mark"' in page


def test_long_names_are_cut() -> None:
    assert f">{'n' * (LETTERS - 1)}…</text>" in drawn("bars", names=["n" * 99], values=[1.0])


def test_several_lines_are_told_apart_and_go_on_behind_a_gap() -> None:
    one, two = {"name": "first", "y": [1.0, None, 3.0]}, {"name": "other", "y": [None, 2.0, None]}
    page = drawn("lines", x=[0.0, 1.0, 2.0], series=[one, two], limit=2.5, marks=[{"x": 5.0, "label": "m"}])
    assert page.count("<circle") == 3 + 2  # points, and the legend
    assert ">first</text>" in page and ">limit</text>" in page
    (line,) = (part for part in page.split("<path") if "line s0" in part)
    assert line.count("M") == 1 and line.count("L") == 1
    assert ">first</text>" not in drawn("lines", x=[0.0, 1.0, 2.0], series=[one])
