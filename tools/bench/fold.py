"""First table: what ``clean,fold-bn`` leaves of real models, beside its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.support import peers, subject
from tools.bench.support.compare_outputs import Reference, load_error
from tools.bench.support.facts import Facts, facts
from tools.bench.support.measure import Least, interleaved
from tools.bench.support.session import Session
from tools.bench.support.tables import MEGA, Goal, Record, figure, show, show_goals

MODELS = (
    "ppocr_v4_det",
    "ppocr_v2_cls",
    "efficientnet_lite0_bn",
    "cifar_resnet20_dynamo_raw",
    "ulfd_rfb320",
    "paddle_mobilenet_v1_rand",
)
PASSES = "clean,fold-bn"
# Models whose weights are also inputs: a tool that folds them takes inputs away, which ours does on request.
FROZEN, FROZEN_PASSES = "graphopt, inputs frozen", "clean:freeze=true,fold-bn"
TOLERANCE = 1e-4
TIME_PEER, TIME_RATIO = "onnxslim", 0.5
COLUMNS = ("tool", "compute", "Constant", "bytes", "CPU s", "peak MB", "largest difference", "remark")


@dataclass(frozen=True)
class Outcome:
    """What one tool made of one model: its file's facts and differences, or why there are none."""

    tool: str
    cost: Least
    facts: Facts | None = None
    differences: dict[str, float] | None = None
    remark: str = ""
    counts: bool = False  # whether other tools are judged by it

    @property
    def difference(self) -> float | None:
        """Largest relative output difference over all levels of the runtime."""
        return max(self.differences.values()) if self.differences else None


def bench(session: Session, models: list[Path], with_subject: bool) -> Record:
    """Run all tools on all models, print a table a model and the goals; the record of it all."""
    record = session.record("fold")
    for model in models:
        reference, before = Reference(model), facts(model)
        outcomes = measure(session, model, reference, _specs(before) if with_subject else {})
        _show(model, before, reference, outcomes)
        record.rows += [_row(model, outcome) for outcome in outcomes]
        if with_subject:
            record.goals += goals(model, before, outcomes)
    if with_subject:
        show_goals(record.goals)
    return record


def _specs(before: Facts) -> dict[str, str]:
    """The passes to run ours with, by the name of the row."""
    return {subject.NAME: PASSES, **({FROZEN: FROZEN_PASSES} if before.defaults else {})}


def measure(session: Session, model: Path, reference: Reference, specs: Mapping[str, str]) -> list[Outcome]:
    """Run every tool on one model, interleaved, and look at what each of them wrote."""
    outputs = {
        peer.name: session.scratch / f"{model.stem}.{peer.name.replace(' ', '-')}.onnx"
        for peer in peers.PEERS
    }
    commands = {
        peer.name: peer.command(session.environment, str(model), str(outputs[peer.name]))
        for peer in peers.PEERS
    }
    for number, (name, passes) in enumerate(specs.items()):
        outputs[name] = session.scratch / f"{model.stem}.{subject.NAME}{number}.onnx"
        commands[name] = subject.optimize(session.start, model, outputs[name], passes, *subject.BARE)
    costs = interleaved(commands, session.runs, session.scratch, session.limits)
    judges = {peer.name for peer in peers.PEERS if peer.reference}
    return [_outcome(name, costs[name], outputs[name], reference, name in judges) for name in commands]


def _outcome(tool: str, cost: Least, output: Path, reference: Reference, judge: bool) -> Outcome:
    if cost.failure:
        return Outcome(tool, cost, remark=cost.failure)
    found = facts(output)
    if error := load_error(output):
        return Outcome(tool, cost, found, remark=f"does not load: {error}")
    remark = "" if found.standard else "operators of one runtime"
    differences = reference.differences(output)
    return Outcome(tool, cost, found, differences, remark, counts=judge and found.standard)


def goals(model: Path, before: Facts, outcomes: list[Outcome]) -> list[Goal]:
    """graphopt's figures against the best peer's, the input's and the tolerance."""
    by_tool = {outcome.tool: outcome for outcome in outcomes}
    timed = by_tool[TIME_PEER].cost
    seconds = None if timed.failure else TIME_RATIO * timed.cpu
    found: list[Goal] = []
    for name in (subject.NAME, FROZEN):
        if (own := by_tool.get(name)) is None:
            continue
        title = model.stem if name == subject.NAME else f"{model.stem}, inputs frozen"
        failed = bool(own.cost.failure)
        best = _best(outcomes, before.defaults if name == subject.NAME else frozenset())
        found += [
            Goal(title, "compute nodes, best peer's", own.facts.compute if own.facts else None, best),
            Goal(title, "bytes, the input's", own.facts.bytes if own.facts else None, before.bytes),
            Goal(title, "relative difference of outputs", own.difference, TOLERANCE),
            Goal(title, f"CPU s, half of {TIME_PEER}'s", None if failed else own.cost.cpu, seconds),
        ]
    return found


def _best(outcomes: list[Outcome], kept: frozenset[str]) -> int | None:
    """Fewest compute nodes of a peer that keeps these inputs."""
    fair = (o.facts.compute for o in outcomes if o.counts and o.facts and kept <= o.facts.inputs)
    return min(fair, default=None)


def _show(model: Path, before: Facts, reference: Reference, outcomes: list[Outcome]) -> None:
    spread = max(reference.differences(model).values())
    rows: list[tuple[str, ...]] = [
        (
            "input",
            str(before.compute),
            str(before.constants),
            figure(before.bytes),
            "",
            "",
            f"{spread:.1e}",
            "",
        )
    ]
    rows += [_printed(outcome, before) for outcome in outcomes]
    show(model.stem, COLUMNS, rows)


def _printed(outcome: Outcome, before: Facts) -> tuple[str, ...]:
    found, cost, difference = outcome.facts, outcome.cost, outcome.difference
    counts = (str(found.compute), str(found.constants), figure(found.bytes)) if found else ("-", "-", "-")
    larger = "larger than the input" if found and found.bytes > before.bytes else ""
    lost = "takes inputs away" if found and not before.defaults <= found.inputs else ""
    remark = "; ".join(part for part in (outcome.remark, larger, lost) if part)
    shown = "-" if difference is None else f"{difference:.1e}"
    return (outcome.tool, *counts, f"{cost.cpu:.2f}", f"{cost.peak / MEGA:.0f}", shown, remark)


def _row(model: Path, outcome: Outcome) -> dict[str, Any]:
    found = outcome.facts
    return {
        "model": model.stem,
        "tool": outcome.tool,
        "compute": found.compute if found else None,
        "constants": found.constants if found else None,
        "bytes": found.bytes if found else None,
        "operators": found.operators if found else None,
        "cpu": [run.cpu for run in outcome.cost.runs],
        "wall": [run.wall for run in outcome.cost.runs],
        "peak": outcome.cost.peak,
        "differences": outcome.differences,
        "remark": outcome.remark,
        "counts": outcome.counts,
    }
