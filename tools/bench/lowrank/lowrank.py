"""Low rank: what it costs accuracy, what it saves in time, and what it takes itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.lowrank import accuracy, wide
from tools.bench.support import subject
from tools.bench.support.corpus import IMAGENET, PHOTOS
from tools.bench.support.measure import Limits, run
from tools.bench.support.session import Session
from tools.bench.support.tables import MEGA, Goal, Record, show, show_goals

LATENCY = 0.6  # of a wide network's time
WITHIN = 0.05
CPU, MEMORY = 120.0, 2000.0  # seconds and MB for Lite0 with 256 images
LITE0 = "efficientnet_lite0_bn"


@dataclass(frozen=True)
class Options:
    """Which part to run: accuracy, speed, cost, or all; and over how many draws of calibration samples."""

    part: str = "all"
    draws: int = 5
    pattern: str = ""  # a model's name must begin with it


def bench(session: Session, corpus: Path, options: Options) -> Record:
    """Run the parts asked for, print their tables and goals; the record of it all."""
    record = session.record("lowrank")
    if options.part in ("all", "accuracy"):
        _accuracy(record, corpus, options)
    if options.part in ("all", "speed"):
        _speed(session, record)
    if options.part in ("all", "cost"):
        _cost(session, record, corpus)
    show_goals(record.goals)
    return record


def _accuracy(record: Record, corpus: Path, options: Options) -> None:
    cases = [case for case in accuracy.CASES if case.model.startswith(options.pattern)]
    rows = []
    for model in dict.fromkeys(case.model for case in cases):
        judge = accuracy.Judge.of(corpus, model)
        for case in (case for case in cases if case.model == model):
            row = accuracy.run(judge, case, options.draws)
            rows.append(row)
            if case.limit is not None:
                record.goals.append(Goal(model, f"points lost, {case.passes}", row["lost"], case.limit))
    record.rows += rows
    show("accuracy without training", COLUMNS, [_printed(row) for row in rows])


COLUMNS = ("model", "passes", "draws", "MACs left", "top-1 before", "points lost", "95 %")


def _printed(row: dict[str, Any]) -> Sequence[str]:
    return (
        row["model"],
        row["passes"],
        str(row["draws"]),
        f"{row['macs_left']:.3f}",
        f"{100 * row['top1_before']:.2f}",
        f"{row['lost']:.2f}",
        f"+- {row['interval']:.2f}",
    )


def _speed(session: Session, record: Record) -> None:
    """A wide network, by its weights alone: what counts is the time."""
    source = wide.resnet50(session.scratch / "resnet50.onnx")
    found, done = _optimize(session, source, f"lowrank:latency={LATENCY}", session.limits)
    ratio = None
    if found is not None:
        ratio = found["after"]["latency_ms"] / found["before"]["latency_ms"]
    record.rows.append({"what": "resnet50", "report": found, "cpu": done.cpu, "failure": done.complaint})
    title = f"ResNet-50, lowrank:latency={LATENCY}"
    shown = "-" if ratio is None else f"{ratio:.3f}"
    show(title, ("time left", "CPU s", "remark"), [(shown, f"{done.cpu:.0f}", done.complaint)])
    record.goals.append(Goal("resnet50", "time left", ratio, LATENCY * (1 + WITHIN)))


def _cost(session: Session, record: Record, corpus: Path) -> None:
    """Lite0 with 256 images and the careful default, threads as the session has them."""
    photos = PHOTOS.format(data=corpus / "data")
    flags = ("--calibration", f"{photos}::256", "--preprocess", IMAGENET)
    source = corpus / "models" / f"{LITE0}.onnx"
    _, done = _optimize(session, source, "lowrank", session.limits, *flags, "--no-latency")
    record.rows.append({"what": "cost", "cpu": done.cpu, "wall": done.wall, "peak": done.peak})
    figures = (f"{done.cpu:.0f}", f"{done.wall:.0f}", f"{done.peak / MEGA:.0f}", done.complaint)
    show("Lite0, 256 images", ("CPU s", "wall s", "peak MB", "remark"), [figures])
    ok = done.ok
    record.goals.append(Goal(LITE0, "CPU s with 256 images", done.cpu if ok else None, CPU))
    record.goals.append(Goal(LITE0, "peak MB", done.peak / MEGA if ok else None, MEMORY))


def _optimize(
    session: Session, source: Path, passes: str, limits: Limits, *flags: str
) -> tuple[dict[str, Any] | None, Any]:
    """Run the command line; its report, None when it failed, and what it used."""
    output, report = (session.scratch / f"lowrank.{kind}" for kind in ("onnx", "json"))
    more = (*flags, "--report", str(report), f"--threads={limits.threads}")
    done = run(subject.optimize(session.start, source, output, passes, *more), session.scratch, limits)
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    return found, done
