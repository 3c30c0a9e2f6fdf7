"""The page of a study holds every trial, escapes names, and has ticks at levels that were measured only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

from graphopt.report.html import render_sensitivity
from graphopt.report.html.charts.sensitivity import MOST_TICKS, draw
from tests.report.html.elements import EVIL, Elements


def test_the_page_holds_every_trial(study: Callable[..., Any]) -> None:
    made = study()
    text = render_sensitivity(made)
    trials = json.loads(unescape(re.search(r'<template id="trials">(.*?)</template>', text, re.S)[1]))
    assert trials["levels"] == [0.25, 0.5, 0.875]
    assert sum(len(part["points"]) for part in trials["parts"]) == len(made.points)
    assert [measure["key"] for measure in trials["measures"]] == [
        "disagreement",
        "snr_db",
    ]  # what says most first
    assert "/net/layer failed" in text


def test_names_do_not_act(study: Callable[..., Any]) -> None:
    assert Elements(render_sensitivity(study(name=EVIL))).tags == Elements(render_sensitivity(study())).tags


def ticks(study: Any) -> list[str]:
    drawing = str(draw(study))
    foot = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="tick" text-anchor="middle">([^<]+)<', drawing)
    return [label for _, _, label in foot]


def test_no_tick_stands_where_nothing_was_measured(study: Callable[..., Any]) -> None:
    made = study()
    assert ticks(made) == ["0.25", "0.5", "0.875"]
    many = made.points[0].__class__
    points = tuple(many("a", 0.01 * i, snr_db=10.0 + i) for i in range(1, 80))
    dense = made.__class__(**{**vars(made), "points": points})
    assert len(ticks(dense)) <= MOST_TICKS + 1
    assert {float(label) for label in ticks(dense)} <= {float(f"{0.01 * i:.3g}") for i in range(1, 80)}
