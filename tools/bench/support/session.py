"""What every bench command shares: the peers' environment, scratch folder, runs, limits, and graphopt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.support.measure import Least, Limits
from tools.bench.support.peers import Environment
from tools.bench.support.tables import Record, own_version


@dataclass(frozen=True)
class Session:
    """One sitting at one machine: all figures that are compared come from the same session."""

    environment: Environment
    scratch: Path
    start: list[str]
    runs: int = 3
    limits: Limits = field(default_factory=Limits)

    def record(self, bench: str) -> Record:
        """An empty record with the versions and settings of this session."""
        versions = {"graphopt": own_version(), **self.environment.installed()}
        settings = {"runs": self.runs, "threads": self.limits.threads, "seconds": "least CPU of the runs"}
        return Record(bench, versions, settings)


def cost_row(what: str, tool: str, cost: Least) -> dict[str, Any]:
    """The plain values of one measured command for a record."""
    return {
        "what": what,
        "tool": tool,
        "cpu": [run.cpu for run in cost.runs],
        "wall": [run.wall for run in cost.runs],
        "peak": cost.peak,
        "failure": cost.failure,
    }
