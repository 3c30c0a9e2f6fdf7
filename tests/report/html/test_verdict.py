"""The verdict follows from what was measured: one document for each way a result can be good or bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphopt.report.html import render_report
from graphopt.report.html.verdict import verdict

Change = Callable[[dict[str, Any]], Any]


def quiet(document: dict[str, Any]) -> dict[str, Any]:
    """A report with nothing against it: real samples, no warning, a certain loss of less than a point."""
    document["warnings"] = []
    document["calibration"]["source"] = "photos"
    document["judged_on"] = {"source": "photos", "samples": 1000, "sha256": "c" * 64}
    document["after"]["metrics"] = {"top1": 0.898}
    document["paired"] = {"top1": {"low": -0.005, "high": 0.001}}
    return document


def unlabelled(share: float, samples: int) -> Change:
    def change(d: dict[str, Any]) -> None:
        d["before"]["metrics"] = d["after"]["metrics"] = {}
        d["agreement"] = {"top1": share, "samples": samples}
        d["judged_on"]["samples"] = samples

    return change


def only_signal(ratio: float | None) -> Change:
    def change(d: dict[str, Any]) -> None:
        d["before"]["metrics"] = d["after"]["metrics"] = {}
        d["agreement"] = {"snr_db": {"y": ratio}}

    return change


def lost(low: float, middle: float, high: float, goal: float | None = None) -> Change:
    def change(d: dict[str, Any]) -> None:
        d["after"]["metrics"]["top1"] = 0.9 - middle / 100
        d["paired"] = {"top1": {"low": -high / 100, "high": -low / 100}}
        d["goals"] = {} if goal is None else {"max_drop": goal}

    return change


@pytest.mark.parametrize(
    ("change", "word", "says"),
    [
        (lambda d: None, "Ship", "Top-1 accuracy lost 0.20 points"),
        (lost(1.2, 2.0, 2.8), "Do not ship", "more than the 1 point that a careful run allows"),
        (lost(-1.0, 0.5, 2.0), "Look here first", "too few to rule out a loss of more than 1 point"),
        (lost(1.2, 2.0, 2.8, goal=3.0), "Ship", "lost 2.00 points"),
        (lost(3.1, 4.0, 5.0, goal=3.0), "Do not ship", "the 3 points that the goal allows"),
        (lambda d: d.update(missed=["it is slow"]), "Do not ship", "A goal was missed: it is slow."),
        (lambda d: d["after"]["metrics"].update(top1=None), "Do not ship", "not finite"),
        (unlabelled(0.999, 1000), "Ship", "99.90 % of the answers"),
        (unlabelled(0.98, 100), "Look here first", "on the edge"),
        (unlabelled(0.90, 1000), "Do not ship", "no labels"),
        (only_signal(60.0), "Ship", "60.0 dB"),
        (only_signal(25.0), "Look here first", "25.0 dB"),
        (only_signal(-3.0), "Do not ship", "as much noise as signal"),
        (only_signal(None), "Do not ship", "not finite"),
        (
            lambda d: (only_signal(None)(d), d.update(agreement={})),
            "Look here first",
            "was not compared",
        ),
        (lambda d: d["judged_on"].update(source="synthetic"), "Look here first", "synthetic"),
        (lambda d: d["calibration"].update(source="synthetic"), "Look here first", "synthetic"),
        (lambda d: d["calibration"].update(shared_with_evaluation=3), "Look here first", "3 samples"),
        (lambda d: d["after"].update(latency_ms=3.0), "Look here first", "1.50 times as long"),
        (lambda d: d["after"].update(bytes=8000), "Look here first", "2.00 times as large"),
        (lambda d: d.update(warnings=["a", "b"]), "Look here first", "2 warnings"),
        (lambda d: d["passes"][1].update(changes=[]), "Look here first", "No pass changed anything"),
    ],
)
def test_the_word_and_its_reason(document: Callable[..., Any], change: Change, word: str, says: str) -> None:
    made = quiet(document())
    change(made)
    found = verdict(made)
    assert found["word"] == word
    gravest = [reason.text for reason in found["reasons"] if reason.tone == found["tone"]]
    assert any(says in text for text in gravest), gravest
    page = render_report(made)
    assert page.index(f"<h2>{word}</h2>") < page.index("File size")


def test_layers_that_got_slower_count_unless_the_whole_gained(document: Callable[..., Any]) -> None:
    made = quiet(document())
    for layer in made["layers"]:
        layer["latency_ms"] = [1.0, 1.0]
    made["layers"][3]["latency_ms"] = [1.0, 2.0]
    assert verdict(made)["word"] == "Ship"  # twice as fast in all
    made["after"]["latency_ms"] = 2.0
    assert [r.text for r in verdict(made)["reasons"] if r.link == "#risk"] == ["1 layer got slower."]
