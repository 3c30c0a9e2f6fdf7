"""Metrics are found by name, ours and others', and what does not belong together is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from graphopt.errors import UsageError
from graphopt.metrics import Detection, MetricSpec, Segmentation, UserFunction, registry
from graphopt.metrics.outputs import Generic
from graphopt.util.registry import Registry


def test_every_registered_metric_is_made_under_its_name() -> None:
    for name in registry.names():
        metric = MetricSpec(task=name).make()
        assert metric is not None and metric.name == name
        assert set(metric.options) <= {"decode", "confidence", "threshold"}


def test_options_go_to_the_metric_that_takes_them() -> None:
    assert isinstance(made := MetricSpec(task="detection", decode="ssd").make(), Detection)
    assert made.preset == "ssd"
    assert isinstance(MetricSpec(task="segmentation", threshold=0.3).make(), Segmentation)
    assert MetricSpec().make() is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "detecton"}, "did you mean 'detection'"),
        ({"decode": "ssd"}, "--decode belongs to --task detection"),
        ({"task": "detection", "threshold": 0.5}, "--threshold belongs to --task segmentation"),
        ({"task": "classification", "labels": "x"}, "--labels belongs to"),
        ({"task": "detection", "metric": "a.py:b"}, "give one of the two"),
    ],
)
def test_what_does_not_belong_together_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        MetricSpec(**fields)  # type: ignore[arg-type]
    assert said in f"{error.value} {error.value.hint}"


def test_a_metric_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Depth(Generic):
        name = "depth"

    loads = {"depth": lambda: Depth, "number": lambda: 7, "broken": lambda: {}["gone"]}
    points = [SimpleNamespace(name=name, value="mine:it", load=load) for name, load in loads.items()]
    made = Registry(points, kind="metric", of=type)  # type: ignore[arg-type]
    monkeypatch.setattr(registry, "_registry", lambda: made)
    assert isinstance(MetricSpec(task="depth").make(), Depth)
    for name, said in (("number", "no metric"), ("broken", "KeyError")):
        with pytest.raises(UsageError, match=f"--task {name} cannot be loaded: .*{said}"):
            MetricSpec(task=name)


def test_a_function_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("runs = []\nruns.append(1)\ndef score(outputs, labels):\n    return len(runs)\n")
    spec = MetricSpec(metric=f"{file}:score")
    assert pickle.loads(pickle.dumps(spec)) == spec, "other processes judge by it too"
    first, second = spec.make(), spec.make()
    assert isinstance(first, UserFunction) and isinstance(second, UserFunction)
    assert first.main == "score" and first._function is second._function, "the file runs once"
    before = spec.identity()
    file.write_text("def score(outputs, labels):\n    return [0]\n")
    assert spec.identity() != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine.py", "not of the form FILE.py:FUNCTION"),
        ("mine.txt:score", "not of the form FILE.py:FUNCTION"),
        ("none.py:score", "there is no file"),
        ("bad.py:score", "ZeroDivisionError"),
        ("empty.py:score", "has no function score"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UsageError, match="--metric") as error:
        MetricSpec(metric=str(tmp_path / text)).make()
    assert said in str(error.value)
