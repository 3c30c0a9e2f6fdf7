"""Sensitivity: every trial alone on the untouched model, measured as a full run would."""

from __future__ import annotations

import csv
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt import data, ir, runtime, targets
from graphopt.analysis.sensitivity import study as module
from graphopt.analysis.sensitivity import workers
from graphopt.analysis.sensitivity.trial_log import TrialLog
from graphopt.errors import DataError, PassError, UsageError
from graphopt.execution import open_workers
from graphopt.passes.quant import Quant
from graphopt.pipeline import Plan, PlannedPass, Trial
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.spec.arrange import PipelineEntry
from graphopt.pipeline.spec.spec import PassSpec
from graphopt.record.sensitivity import COLUMNS, Point, Sensitivity
from tests.conftest import build_classifier


@dataclass(frozen=True)
class Shrink(PlannedPass):
    """Scale the weights of one layer; level 0 changes nothing, level 9 fails."""

    name = "shrink"

    def plan(self, model: ir.Model, ctx: Any) -> Plan:
        return Plan(tuple({"node": name, "level": 1.0} for name in ("conv", "gemm")))

    def apply(self, model: ir.Model, plan: Plan, ctx: Any) -> None:
        for item in plan.items:
            if item["level"] == 9:
                raise PassError("nine is too much")
            node = next(node for node in model.graph.nodes if node.name == item["node"])
            weight = node.inputs[1].constant
            model.graph.set_constant(node, 1, weight * np.float32(1 - item["level"] / 10))

    def trials(self, model: ir.Model, ctx: Any) -> Iterator[Trial]:
        for node in ("gemm", "conv"):
            for level in (0.0, 1.0, 5.0, 9.0):
                yield Trial(node, level, Plan(({"node": node, "level": level},)))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(build_classifier(), path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    path = tmp_path / "samples.npz"
    np.savez(path, x=rng.standard_normal((40, 2, 4, 4)).astype(np.float32), labels=rng.integers(0, 7, 40))
    return path


@pytest.fixture(autouse=True)
def shrink(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make ``shrink`` a pass, and keep results out of the user's own folder."""
    real = module._stages
    monkeypatch.setattr(
        module,
        "_stages",
        lambda step: (PipelineEntry(Shrink(), PassSpec("shrink")),) if step == "shrink" else real(step),
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def study(model: Path, source: Path, **options: Any) -> Sensitivity:
    return graphopt.sensitivity(model, "shrink", str(source), **{"cache": "off", "threads": 1, **options})


def test_each_trial_is_what_a_full_run_measures(tiny: Path, samples: Path) -> None:
    found = study(tiny, samples, samples=16)
    assert [(p.item, p.level) for p in found.points] == [
        (name, level) for name in ("gemm", "conv") for level in (0, 1, 5, 9)
    ]
    model = ir.load(tiny)
    held_out = data.load(str(samples), model.signature.inputs, None).skip(24)
    assert found.samples == len(held_out) == 16
    for point in found.points:
        if point.level == 9:
            assert point.error == "nine is too much"
            continue
        changed = ir.load(tiny)
        Shrink().apply(changed, Plan(({"node": point.item, "level": point.level},)), None)
        comparison, agreement, accuracy = runtime.Comparison(), runtime.Agreement(), runtime.Accuracy()
        was, now = runtime.Session(model), runtime.Session(changed)
        for sample in held_out:
            a, b = was.run(sample.feeds), now.run(sample.feeds)
            comparison.update(a, b)
            agreement.update(a["y"], b["y"])
            accuracy.update(b["y"], np.array(sample.labels))
        snr = comparison.result()["y"].snr_db
        assert point.snr_db == (300.0 if point.level == 0 else pytest.approx(snr, abs=0.01))
        assert agreement.rate is not None
        assert point.disagreement == pytest.approx(100 * (1 - agreement.rate))
        assert point.top1 == accuracy.top1
        assert (point.macs, point.parameters) == (found.macs, found.parameters)


def test_only_what_lies_behind_the_change_runs(
    tiny: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    real = runtime.Session.__init__

    def watched(self: Any, model: Any, *given: Any, **options: Any) -> None:
        real(self, model, *given, **options)
        opened.append(self.input_names)

    monkeypatch.setattr(runtime.Session, "__init__", watched)
    study(tiny, samples)
    assert ("f",) in opened, "the last layer alone ran from its input"


def test_held_out_samples_are_not_planned_with(
    tiny: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def trials(self: Shrink, model: ir.Model, ctx: Any) -> Iterator[Trial]:
        seen.append(len(ctx.calibration))
        return iter([Trial("conv", 1.0, Plan(({"node": "conv", "level": 1.0},)))])

    monkeypatch.setattr(Shrink, "trials", trials)
    assert study(tiny, samples, samples=10).samples == 10
    assert study(tiny, samples).samples == 20
    assert study(tiny, Path(f"{samples}::1")).samples == 1
    assert study(tiny, Path(f"{samples}::8"), evaluation=f"{samples}::8:", samples=12).samples == 12
    assert seen == [30, 20, 1, 8]


def test_a_stopped_run_goes_on(tiny: Path, samples: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = study(tiny, samples)
    done: list[tuple[str, float]] = []
    real = Shrink.apply

    def interrupted(self: Shrink, model: ir.Model, plan: Plan, ctx: Any) -> None:
        done.append((plan.items[0]["node"], plan.items[0]["level"]))
        if len(done) == 4:
            raise KeyboardInterrupt
        real(self, model, plan, ctx)

    monkeypatch.setattr(Shrink, "apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(tiny, samples, cache=None)
    [log] = (tmp_path / "cache" / "graphopt").glob("sensitivity-*.jsonl")
    assert len(log.read_text().splitlines()) == 3
    with log.open("a") as file:
        file.write('{"key": "cut sh')
    said: list[str] = []
    assert study(tiny, samples, cache=None, announce=said.append) == whole
    assert len(done) == len(set(done)) + 1 == 9, "the interrupted trial alone was carried out twice"
    assert "3 of 8 trials were carried out before" in said[0]


def test_other_samples_or_options_start_anew(tiny: Path, samples: Path, tmp_path: Path) -> None:
    for options in ({}, {"samples": 7}, {"seed": 1}, {}):
        study(tiny, samples, cache=tmp_path / "kept", **options)
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_results_survive_their_log(tiny: Path, samples: Path, tmp_path: Path) -> None:
    first = study(tiny, samples, latency=True, cache=tmp_path / "kept")
    second = study(tiny, samples, latency=True, cache=tmp_path / "kept")
    assert [(p.snr_db, p.macs) for p in first.points] == [(p.snr_db, p.macs) for p in second.points]
    assert first.latency_ms and first.points[0].latency_ms == pytest.approx(first.latency_ms)
    assert len(TrialLog.open(tmp_path, {})._known) == 0


def test_tables_and_files(tiny: Path, samples: Path, tmp_path: Path) -> None:
    found = study(tiny, samples)
    found.write_csv(tmp_path / "costs.csv")
    rows = list(csv.DictReader((tmp_path / "costs.csv").open()))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 8 and rows[3]["error"] and not rows[3]["snr_db"]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["points"][0]["item"] == "gemm"
    assert list(found.curves()) == ["gemm", "conv"]


def test_answers_count_only_when_they_change() -> None:
    def result(samples: int, top1: float) -> Sensitivity:
        point = Point("a", 1.0, 20.0, 0.0, top1, 1, 1)
        return Sensitivity("m", "prune", samples, "s", (point,), 1, 1, top1=0.9)

    assert result(100, 0.8).measure == "top1_drop"
    assert result(100, 0.88).measure == "snr_db"


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        ("prun", UsageError, "did you mean 'prune'"),
        ("clean", UsageError, "makes no plans"),
        ("prune:ratios=1", UsageError, "ratio"),
        ("", UsageError, "pass"),
    ],
)
def test_wrong_passes(tiny: Path, samples: Path, step: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        graphopt.sensitivity(tiny, step, str(samples), cache="off")


def test_wrong_numbers_and_no_data(tiny: Path, samples: Path) -> None:
    with pytest.raises(UsageError, match="at least one"):
        study(tiny, samples, samples=0)
    with pytest.raises(DataError):
        study(tiny, Path(f"{samples}::50:"))


def test_processes_find_what_one_finds(tiny: Path, samples: Path, tmp_path: Path) -> None:
    one, two = (
        graphopt.sensitivity(tiny, "quant", str(samples), workers=count, cache="off", threads=count)
        for count in (1, 2)
    )
    assert one.points and one.points == two.points


def test_when_the_caller_stops_so_do_the_processes(tiny: Path, samples: Path) -> None:
    model = ir.load(tiny)
    loaded = data.load(str(samples), model.signature.inputs, None)
    subject = workers.Subject(model, loaded, loaded)
    setup = workers.Setup(Quant(), {"x": (1, 2, 4, 4)}, RunSettings(), targets.load("generic"))
    items = [Trial(str(number), 1.0, Plan()) for number in range(40)]

    def first(groups: Sequence[Sequence[Trial]]) -> None:
        with open_workers(2) as team:
            for _ in workers.carry_out(subject, setup, groups, team):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first([[item] for item in items])
    deadline = time.monotonic() + 60
    # join() would race with the pool's own thread: whoever reaps a process first, the other sees it alive.
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()
