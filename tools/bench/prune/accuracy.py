"""Pruning without training: what it costs the accuracy of real models, what it saves in time, what it takes.

By itself: ``python -m tools.bench.prune.accuracy [--draws N] [--model PREFIX] [--json FILE]``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import graphopt
from graphopt import ir
from graphopt.runtime import Session as Runtime
from graphopt.runtime import paired_latency
from tools.bench.lowrank import accuracy
from tools.bench.lowrank.accuracy import Case, Judge
from tools.bench.support import subject
from tools.bench.support.corpus import IMAGENET, PHOTOS
from tools.bench.support.measure import Limits, run
from tools.bench.support.peers import DEFAULT_ENVIRONMENT, Environment
from tools.bench.support.session import Session
from tools.bench.support.tables import MEGA, Goal, Record, show, show_goals

DRAWS = 5
PART_DRAWS = 3  # of Lite0, which takes minutes a draw
LITE0, CIFAR = "efficientnet_lite0_bn", "cifar_resnet20_bn"
LABELLED = (LITE0, CIFAR, "fashion_resnet14_bn", "fashion_mnv2_bn")
ALIGNMENT = 1.0  # points that widths in blocks of 16 may cost more
PEER = "prune:{goal}:round_to=1:importance=l1:ranking=layer:repair=false"  # uniform L1, cut and nothing else
CASES = (
    Case(CIFAR, "prune:macs=0.75:round_to=1", 1.6),
    Case(CIFAR, "prune:macs=0.5:round_to=1", 7.2),
    Case(CIFAR, PEER.format(goal="macs=0.75"), None, baseline=True),
    Case(CIFAR, PEER.format(goal="macs=0.5"), None, baseline=True),
    Case(LITE0, "prune:macs=0.9:round_to=1", 2.2, samples=256),
    Case(LITE0, "prune:macs=0.8:round_to=1", 5.6, samples=256),
    Case(LITE0, "prune:macs=0.9:round_to=16", None, samples=256),
    Case(LITE0, "prune:macs=0.8:round_to=16", None, samples=256),
    Case(LITE0, PEER.format(goal="macs=0.9"), None, baseline=True),
    *(Case(model, "prune", 0.3, baseline=True) for model in LABELLED),
    *(Case(model, "prune:ratio=0.05:round_to=1", None, baseline=True) for model in LABELLED),
)
LATENCY = (0.7, 0.05)  # of the time, and how near it has to be met, as a fraction of it
TIMED = ("fashion_resnet14_bn", LITE0)
CPU, MEMORY = 180.0, 2000.0  # seconds and MB for Lite0 with 256 images


def bench(
    session: Session, corpus: Path, draws: int = DRAWS, prefix: str = "", parts: str = "accuracy,speed,cost"
) -> Record:
    """Run the parts asked for, print their tables and goals; the record of it all."""
    record = session.record("prune accuracy")
    for part in parts.split(","):
        PARTS[part](session, record, corpus, draws, prefix)
    show_goals(record.goals)
    return record


def _accuracy(session: Session, record: Record, corpus: Path, draws: int, prefix: str) -> None:
    cases = [case for case in CASES if case.model.startswith(prefix)]
    rows: list[dict[str, Any]] = []
    for model in dict.fromkeys(case.model for case in cases):
        judge = Judge.of(corpus, model)
        few = min(draws, PART_DRAWS) if model == LITE0 else draws
        for case in (case for case in cases if case.model == model):
            rows.append(accuracy.run(judge, case, few))
            if case.limit is not None:
                record.goals.append(
                    Goal(model, f"points lost, {rows[-1]['passes']}", rows[-1]["lost"], case.limit)
                )
    record.goals += _aligned(rows)
    record.rows += rows
    columns = ("model", "passes", "draws", "MACs left", "top-1 before", "points lost", "95 %")
    show("pruning without training", columns, [_printed(row) for row in rows])


def _aligned(rows: Sequence[dict[str, Any]]) -> Iterator[Goal]:
    """Widths in blocks of 16 cost little more than free ones."""
    by_passes = {row["passes"]: row["lost"] for row in rows if row["model"] == LITE0}
    for passes, lost in by_passes.items():
        free = by_passes.get(passes.replace("round_to=16", "round_to=1"))
        if "round_to=16" in passes and free is not None:
            yield Goal(LITE0, f"points more than unaligned, {passes}", lost - free, ALIGNMENT)


def _printed(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["model"],
        row["passes"],
        str(row["draws"]),
        f"{row['macs_left']:.3f}",
        f"{row['top1_before']:.4f}",
        f"{row['lost']:.2f}",
        f"{row['interval']:.2f}",
    )


def _speed(session: Session, record: Record, corpus: Path, draws: int, prefix: str) -> None:
    """Whether a goal in time is met, as measured on the files afterwards."""
    goal, near = LATENCY
    rows = []
    for model in (name for name in TIMED if name.startswith(prefix)):
        source = corpus / "models" / f"{model}.onnx"
        result = graphopt.optimize(source, f"prune:latency={goal}:repair=false", latency=False)
        folded = graphopt.optimize(source, "clean,fold-bn", latency=False)
        ratio = _ratio(folded.model, result.model)
        rows.append((model, f"{goal:g}", f"{ratio:.3f}"))
        record.rows.append({"model": model, "latency": goal, "measured": ratio})
        record.goals.append(Goal(model, f"distance to latency={goal:g}", abs(ratio / goal - 1.0), near))
    show("time asked for and time left", ("model", "asked", "left"), rows)


def _ratio(before: ir.Model, after: ir.Model) -> float:
    rng = np.random.default_rng(0)
    feeds = {}
    for port in before.signature.inputs:
        sizes = [size if isinstance(size, int) else 1 for size in port.shape or ()]
        feeds[port.name] = rng.standard_normal(sizes).astype(np.float32)
    return paired_latency(Runtime(before), Runtime(after), feeds, seconds=10.0).ratio


def _cost(session: Session, record: Record, corpus: Path, draws: int, prefix: str) -> None:
    """What pruning Lite0 with 256 images takes."""
    source, output = corpus / "models" / f"{LITE0}.onnx", session.scratch / "lite0.onnx"
    photos = PHOTOS.format(data=corpus / "data")
    flags = (f"--calibration={photos}::256", f"--preprocess={IMAGENET}", "--verify=structure", "--no-latency")
    command = subject.optimize(session.start, source, output, "prune:macs=0.9", *flags)
    done = run(command, session.scratch, session.limits)
    cpu, memory = (done.cpu, done.peak / MEGA) if done.ok else (None, None)
    record.rows.append({"model": LITE0, "cpu": cpu, "memory": memory, "failure": done.complaint})
    record.goals += [
        Goal(LITE0, "CPU seconds with 256 images", cpu, CPU),
        Goal(LITE0, "MB of memory with 256 images", memory, MEMORY),
    ]


PARTS = {"accuracy": _accuracy, "speed": _speed, "cost": _cost}


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of the corpus.")
@click.option("--draws", default=DRAWS, show_default=True, help="Calibration draws.")
@click.option("--model", "prefix", default="", help="Only models whose name begins so.")
@click.option("--part", "parts", default="accuracy,speed,cost", show_default=True, help="What to measure.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def main(corpus: Path, draws: int, prefix: str, parts: str, path: Path | None) -> None:
    """Pruning without training: accuracy, measured time, cost."""
    with tempfile.TemporaryDirectory(prefix="graphopt-bench-") as scratch:
        session = Session(Environment(DEFAULT_ENVIRONMENT), Path(scratch), subject.executable(), 1, Limits())
        record = bench(session, corpus.resolve(), draws, prefix, parts)
    if path:
        record.write(path)


if __name__ == "__main__":
    main()
