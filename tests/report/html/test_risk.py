"""Where to look: the worst layers, those that got slower, the inputs that moved, and their pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.report.html import render_report
from graphopt.report.html.risk import MOST, risks, slower_layers
from graphopt.report.html.rows import layer_rows
from tests.report.html.elements import Elements


def test_the_worst_layers_come_first(document: Callable[..., Any]) -> None:
    made = document()
    found = risks(made, layer_rows(made))
    ratios = sorted(layer["snr_db"] for layer in made["layers"] if layer["snr_db"] is not None)
    assert [row["snr"] for row in found["worst"]] == ratios[:MOST]
    made["layers"][2]["snr_db"] = 300.0  # equal is no risk
    assert all(row["number"] != 2 for row in risks(made, layer_rows(made))["worst"])


def test_slower_means_more_than_profiles_differ_by(document: Callable[..., Any]) -> None:
    made = document(6)
    times = [[10.0, 10.5], [10.0, 15.0], [0.01, 0.02], [None, 9.0], [10.0, 4.0], [None, None]]
    for layer, pair in zip(made["layers"], times, strict=True):
        layer.update(latency_ms=pair, state="kept")
    made["layers"][3]["state"] = "added"
    assert [number for number, _, _ in slower_layers(made)] == [3, 1]
    assert 'data-go="1"' in render_report(made)


def test_a_layer_that_took_over_others_is_not_called_new(document: Callable[..., Any]) -> None:
    made = document(2)
    made["layers"][0]["latency_ms"] = [None, 5.0]  # its kernel was another's before
    assert slower_layers(made) == []


def test_thumbnails_are_pictures_and_nothing_else(document: Callable[..., Any]) -> None:
    made = document()
    one = {"name": "photo", "snr_db": 3.0, "before": 1, "after": 2, "label": 1, "image": "aGVsbG8="}
    made["divergent"] = [one, {**one, "image": 'x" onerror="alert(1)'}, {**one, "before": None, "image": ""}]
    text = render_report(made)
    assert "data:image/png;base64,aGVsbG8=" in text and "onerror" not in text
    assert Elements(text).tags["img"] == 1
    assert text.count("1 → 2") == 2 and "label 1" in text
