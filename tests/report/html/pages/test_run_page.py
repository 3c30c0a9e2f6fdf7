"""Pages hold everything a run has to say, load nothing, stay small, and let no name in a model act."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import graphopt
from graphopt.errors import UsageError
from graphopt.report.html import read_report, render_comparison, render_report
from tests.report.html.elements import EVIL, Elements


def test_a_page_says_everything(document: Callable[..., Any]) -> None:
    text = render_report(document())
    for told in ("30.0 % less", "2.0× less", "−1.00 points", "97.00 %", "25.0 dB", "mind this", "macs=0.7"):
        assert told.replace("30.0 % less", "−30.0 %") in text
    for part in ("passes", "layers", "graph", "plots", "skipped", "reproduce"):
        assert f'id="{part}"' in text
    assert "graphopt optimize layer.onnx" in text
    assert len(re.findall(r'<tr id="l\d+"', text)) == 24
    assert text.count('class="n ') == 24


def test_a_page_without_layers_is_one_too(document: Callable[..., Any]) -> None:
    old = document()
    for key in ("layers", "stages"):
        del old[key]
    old["after"]["latency_ms"] = None
    old["after"]["metrics"] = {}
    text = render_report(old)
    assert 'id="layers"' not in text and 'id="graph"' not in text
    assert "Latency" not in text


def test_nothing_is_loaded(document: Callable[..., Any]) -> None:
    for text in (render_report(document()), render_comparison([document(), document()], ["a", "b"])):
        found = Elements(text)
        links = [value for name, value in found.attributes if name in ("href", "src", "action", "srcset")]
        assert all(value and value.startswith(("#", "data:")) for value in links)
        assert "@import" not in text and "url(" not in text
        assert found.tags.get("script") == 1 and "link" in found.tags


def test_names_do_not_act(document: Callable[..., Any]) -> None:
    good, bad = document(), _poisoned(document())
    assert Elements(render_report(bad)).tags == Elements(render_report(good)).tags
    names = [name for name, _ in Elements(render_report(bad)).attributes]
    assert not [name for name in names if name.startswith("on")]
    both = render_comparison([bad, bad], [EVIL, EVIL + "2"])
    assert Elements(both).tags == Elements(render_comparison([good, good], ["a", "b"])).tags


def _poisoned(value: Any) -> Any:
    """Every text of a report replaced by an attack, but for the words that make it one."""
    kept = {"kept", "removed", "added", "spectrum", "histogram", "lines", "bars", "input", "clean", "prune"}
    kept |= {"synthetic"}
    if isinstance(value, dict):
        return {key: _poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_poisoned(item) for item in value]
    return EVIL + value if isinstance(value, str) and value and value not in kept else value


def test_a_thousand_nodes_stay_small(document: Callable[..., Any]) -> None:
    text = render_report(document(1000))
    assert len(text.encode()) < 1.5e6
    assert text.count('class="n ') == 1000


@pytest.mark.slow
def test_twenty_thousand_nodes_stay_below_five_megabytes(document: Callable[..., Any]) -> None:
    text = render_report(document(20_000, name="/features/block/a/rather/long/name/of/a/layer"))
    assert len(text.encode()) < 5e6
    assert "more nodes" in text


def test_a_comparison_marks_the_best(document: Callable[..., Any]) -> None:
    slow, fast = document(), document()
    fast["after"] = {**fast["after"], "latency_ms": 0.5, "metrics": {"top1": 0.7}}
    text = render_comparison([slow, fast], ["slow", "fast"])
    best = re.findall(r'<th>([^<]+)</th>(?:<td[^>]*>[^<]*</td>)*<td class="r best">([^<]+)</td>', text)
    assert ("Latency", "0.5 ms") in best and ("Top-1 accuracy", "89.00 %") in best
    assert 'class="front"' in text


def test_runs_judged_on_different_samples_are_not_ranked(document: Callable[..., Any]) -> None:
    one, other = document(), document()
    other["after"] = {**other["after"], "latency_ms": 0.5, "metrics": {"top1": 0.7}}
    for run, digest in ((one, "a" * 64), (other, "b" * 64)):
        run["judged_on"] = {"source": "photos", "samples": 64, "sha256": digest}
    text = render_comparison([one, other], ["one", "other"])
    best = re.findall(r'<th>([^<]+)</th>(?:<td[^>]*>[^<]*</td>)*<td class="r best">([^<]+)</td>', text)
    assert [title for title, _ in best] and "Top-1 accuracy" not in dict(best)
    assert "judged on different samples" in text and 'class="front"' not in text
    other["judged_on"] = one["judged_on"]
    same = render_comparison([one, other], ["one", "other"])
    assert "judged on different samples" not in same and 'class="front"' in same


def test_only_reports_become_pages(tmp_path: Path, document: Callable[..., Any]) -> None:
    path = tmp_path / "x.json"
    for text, why in (("nonsense", "not a report"), ("[]", "not a report"), ("{}", "not a report")):
        path.write_text(text)
        with pytest.raises(UsageError, match=why):
            read_report(path)
    path.write_text(json.dumps({**document(), "schema": 9}))
    with pytest.raises(UsageError, match="schema 9"):
        read_report(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


@pytest.mark.parametrize("key", ["before", "layers", "passes", "machine", "stages", "agreement"])
def test_wrong_values_are_one_sentence(key: str, document: Callable[..., Any]) -> None:
    for wrong in (7, "text", ["a"], {"a": "b"}):
        try:
            text = render_report({**document(), key: wrong})
        except UsageError as error:
            assert "wrong kind" in str(error)
        else:
            assert "</html>" in text


def test_noise_is_not_called_a_drop(document: Callable[..., Any]) -> None:
    run = document()  # one point lost
    few, many = (
        run | {"paired": {"top1": {"difference": -0.01, "low": -0.025, "high": 0.005}}},
        run | {"paired": {"top1": {"difference": -0.01, "low": -0.012, "high": -0.008}}},
    )
    assert "−1.00 points, noise (−2.50 to +0.50)" in render_report(few)
    assert '<span class="change bad">−1.00 points</span>' in render_report(many)


def test_names_in_a_model_file_do_not_act(tmp_path: Path, fakes: Any) -> None:
    """From the file to the page: node, tensor and input names, and the name of the file itself."""
    model = fakes.build()
    names = {tensor for node in model.graph.node for tensor in (*node.input, *node.output)}
    for node in model.graph.node:
        node.name += EVIL
        node.input[:] = [name + EVIL for name in node.input]
        node.output[:] = [name + EVIL for name in node.output]
    for tensor in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        assert tensor.name in names
        tensor.name += EVIL
    path, page = tmp_path / "<b onclick=1>.onnx", tmp_path / "page.html"
    onnx.save(model, path)
    graphopt.optimize(path, "clean", report=page, latency=False)
    found = Elements(page.read_text())
    assert found.tags.get("script") == 1 and "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)" in page.read_text()


def test_runs_of_two_sets_share_no_axis(document: Callable[..., Any]) -> None:
    """Two of three runs were judged on the same samples: the front holds these, and the page says so."""
    runs = [document() for _ in range(3)]
    for number, (run, digest) in enumerate(zip(runs, ("a" * 64, "b" * 64, "a" * 64), strict=True)):
        run["judged_on"] = {"source": "photos", "samples": 64, "sha256": digest}
        run["after"] = {**run["after"], "latency_ms": 0.5 + number / 10}
    text = render_comparison(runs, ["first", "second", "third"])
    (plot,) = re.findall(r'<svg[^>]*class="plot pareto".*?</svg>', text, re.S)
    assert "first" in plot and "third" in plot and "second" not in plot
    assert "Judged on 64 samples of photos (sha256 aaaaaaaaaaaa)" in text
    del runs[0]["judged_on"]  # nobody knows what this one was judged on
    text = render_comparison(runs[:2], ["first", "second"])
    assert 'class="front"' not in text and "not known on which" in text


def test_options_are_those_that_were_chosen_and_passes_keep_their_colours(
    document: Callable[..., Any],
) -> None:
    made = document()
    made["passes"][1]["options"] = {"macs": 0.7, "round_to": 8, "repair": False}
    made["passes"][1]["chosen"] = ["repair"]
    text = render_report(made)
    assert "<code>repair=false</code>" in text and "round_to" not in text
    made["passes"] = [dict(made["passes"][1], name="quant"), made["passes"][1]]  # whatever ran before
    chips = set(re.findall(r'<span class="chip (p\d)">(prune|quant)</span>', render_report(made)))
    assert chips == {("p0", "prune"), ("p1", "quant")}
    assert chips <= set(
        re.findall(r'<span class="chip (p\d)">(\w+)</span>', render_comparison([made] * 2, "ab"))
    )
