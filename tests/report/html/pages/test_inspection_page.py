"""The page of an inspection says what inspect knows, loads nothing, stays small, and no name in it acts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from graphopt.report.html import render_inspection
from graphopt.report.html.charts.drawn_layers import telling
from graphopt.report.html.costs import Shades
from tests.report.html.elements import EVIL, Elements


def test_a_page_says_everything(inspection: Callable[..., Any]) -> None:
    text = render_inspection(inspection(), ("graphopt", "inspect", "a b.onnx"), "f" * 64)
    for part in ("worth", "ports", "operators", "layers", "graph", "plots", "reproduce"):
        assert f'id="{part}"' in text
    for told in ("4000 B", "5000", "2 ms", "batch×3×8×8", "1×3×8×8", "-1 to 1", "mind layer", "onnx 17"):
        assert told in text, told
    assert "memory: prune layer" in text and "done within layer0" in text and "50 % of peak" in text
    assert "60 G MACs and 10 GB a second" in text and "all kernels take 2 ms" in text
    assert "Half of the time goes into 4 of the 12 layers" in text
    assert "graphopt inspect &#39;a b.onnx&#39;" in text and "f" * 64 in text
    assert len(re.findall(r'<tr id="l\d+"', text)) == text.count('data-row="') == 24
    assert 'data-by="time"' in text and 'data-by="macs"' in text


def test_a_page_without_times_colours_by_macs(inspection: Callable[..., Any]) -> None:
    text = render_inspection(inspection(timed=False))
    assert 'id="worth"' not in text and "Latency" not in text and "roofline" not in text
    assert 'data-by="macs"' in text and 'data-by="time"' not in text
    assert "Half of the multiply-accumulates are in 4 of the 12 layers" in text


def test_a_page_without_layers_is_one_too(inspection: Callable[..., Any]) -> None:
    bare = dataclasses.replace(inspection(timed=False), layers=(), reads=(), ranges={}, shapes={})
    text = render_inspection(bare)
    assert 'id="layers"' not in text and 'id="graph"' not in text and 'id="plots"' not in text
    assert "<td>Relu</td>" in text


def test_unknown_numbers_are_said_to_be_unknown(inspection: Callable[..., Any]) -> None:
    found = inspection(timed=False)
    layers = [dataclasses.replace(layer, macs=None, bytes=None, outputs=(None,)) for layer in found.layers]
    measures = dataclasses.replace(found.measures, macs=None)
    text = render_inspection(dataclasses.replace(found, layers=tuple(layers), measures=measures))
    assert '<p class="value">unknown</p>' in text and text.count('data-v="">unknown') == 24


def test_nothing_is_loaded(inspection: Callable[..., Any]) -> None:
    text = render_inspection(inspection())
    found = Elements(text)
    links = [value for name, value in found.attributes if name in ("href", "src", "action", "srcset")]
    assert all(value and value.startswith(("#", "data:")) for value in links)
    assert "@import" not in text and "url(" not in text and found.tags.get("script") == 1


@pytest.mark.parametrize("timed", [True, False])
def test_names_do_not_act(inspection: Callable[..., Any], timed: bool) -> None:
    bad = render_inspection(inspection(name=EVIL, timed=timed), ("graphopt", EVIL), EVIL)
    good = render_inspection(inspection(timed=timed), ("graphopt", "x"), "x")
    assert Elements(bad).tags == Elements(good).tags
    assert not [name for name, _ in Elements(bad).attributes if name.startswith("on")]


def test_a_thousand_nodes_stay_small(inspection: Callable[..., Any]) -> None:
    text = render_inspection(inspection(1000))
    assert len(text.encode()) < 1.5e6
    assert text.count('data-row="') == 1000


@pytest.mark.slow
def test_twenty_thousand_nodes_stay_below_five_megabytes(inspection: Callable[..., Any]) -> None:
    text = render_inspection(inspection(20_000, name="/features/block/a/rather/long/name/of/a/layer"))
    assert len(text.encode()) < 5e6
    assert "more nodes" in text and "of 20000 nodes are drawn" in text


def test_shades_fit_the_largest_share() -> None:
    shades = Shades([26.0, 0.5, None, 0.0])
    assert [shades(share) for share in (26.0, 12.0, 2.0, 0.5, 0.0, None)] == ["5", "4", "2", "0", "", ""]
    assert shades.legend()[0] == ("e5", "≥ 20 %") and shades.legend()[-1] == ("e0", "less")
    assert Shades([0.04])(0.03) == "5" and Shades([])(None) == ""


def test_what_is_drawn_keeps_the_places_where_paths_meet() -> None:
    reads = [[], [0], [1, 0], [2], [3], [4, 2]]  # two residual blocks
    assert telling([9, 8, 0, 7, 0, 0], reads, 6) == {0, 1, 2, 3, 5}
    assert telling([9, 8, 0, 7, 0, 0], reads, 4) == {0, 1, 2}
    assert telling([0, 0, 0, 0, 0, 0], reads, 4) == set()
