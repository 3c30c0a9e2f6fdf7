"""How long ``graphopt --help`` and ``graphopt --version`` take to answer."""

from __future__ import annotations

from tools.bench.support.measure import interleaved
from tools.bench.support.session import Session, cost_row
from tools.bench.support.tables import MEGA, Goal, Record, show, show_goals

SECONDS = 0.4
FLAGS = ("--help", "--version")


def bench(session: Session) -> Record:
    """Measure the answers, print the table and the goals; the record of it all."""
    record = session.record("startup")
    commands = {flag: [*session.start, flag] for flag in FLAGS}
    costs = interleaved(commands, session.runs, session.scratch, session.limits)
    rows = [
        (flag, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", f"{cost.peak / MEGA:.0f}", cost.failure)
        for flag, cost in costs.items()
    ]
    show("startup", ("answer", "CPU s", "wall s", "peak MB", "remark"), rows)
    record.rows += [cost_row(flag, "graphopt", cost) for flag, cost in costs.items()]
    record.goals += [Goal(flag, "CPU s", None if c.failure else c.cpu, SECONDS) for flag, c in costs.items()]
    show_goals(record.goals)
    return record
