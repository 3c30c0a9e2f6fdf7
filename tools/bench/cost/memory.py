"""How much memory ``clean`` takes for a model with gigabytes of weights in external data."""

from __future__ import annotations

from pathlib import Path

from tools.bench.cost.synthetic import MATRICES, WIDTH, external_weights
from tools.bench.support import subject
from tools.bench.support.facts import facts
from tools.bench.support.measure import Least, interleaved
from tools.bench.support.session import Session, cost_row
from tools.bench.support.tables import MEGA, Goal, Record, show, show_goals

PEAK_LIMIT = 2**30
PASSES = "clean"
BARE, DEFAULT = "structure only", "default verification"


def bench(session: Session, matrices: int = MATRICES, width: int = WIDTH) -> Record:
    """Measure both verifications, print the table, what the second one said, and the goals."""
    record = session.record("memory")
    model = external_weights(session.scratch / "external.onnx", matrices, width)
    outputs = {
        BARE: session.scratch / "external.bare.onnx",
        DEFAULT: session.scratch / "external.default.onnx",
    }
    commands = {
        BARE: subject.optimize(session.start, model, outputs[BARE], PASSES, *subject.BARE),
        DEFAULT: subject.optimize(session.start, model, outputs[DEFAULT], PASSES, quiet=False),
    }
    costs = interleaved(commands, session.runs, session.scratch, session.limits)
    record.rows += [cost_row(what, subject.NAME, cost) for what, cost in costs.items()]
    show(
        f"{facts(model).bytes / MEGA:,.0f} MB of weights",
        ("clean", "CPU s", "peak MB", "remark"),
        _printed(costs),
    )
    said = skip_lines(costs[DEFAULT])
    record.settings["said"] = said
    for line in said:
        print(f"  said: {line}")
    record.goals += goals(costs, said, model, outputs)
    show_goals(record.goals)
    return record


def skip_lines(cost: Least) -> list[str]:
    """The lines of the last run in which the tool speaks of what it skipped."""
    last = cost.runs[-1]
    return [line.strip() for line in (last.stdout + last.stderr).splitlines() if "skip" in line.lower()]


def goals(costs: dict[str, Least], said: list[str], model: Path, outputs: dict[str, Path]) -> list[Goal]:
    """Peak memory of the bare run, complete outputs, and a default run that works and names what it skips."""
    bare, default = costs[BARE], costs[DEFAULT]
    return [
        Goal(BARE, "peak bytes", None if bare.failure else bare.peak, PEAK_LIMIT),
        Goal(DEFAULT, "failed runs", float(bool(default.failure)), 0),
        Goal(DEFAULT, "says what it skips (0 = yes)", float(not said), 0),
        *(
            Goal(
                what,
                "bytes, the input's",
                None if cost.failure else facts(outputs[what]).bytes,
                facts(model).bytes,
            )
            for what, cost in costs.items()
        ),
    ]


def _printed(costs: dict[str, Least]) -> list[tuple[str, ...]]:
    return [
        (what, f"{cost.cpu:.2f}", f"{cost.peak / MEGA:.0f}", cost.failure) for what, cost in costs.items()
    ]
