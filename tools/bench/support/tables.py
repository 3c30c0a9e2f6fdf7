"""How results are judged, shown and written: goals, rich tables, one JSON document a run."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MEGA = 1e6


@dataclass(frozen=True)
class Goal:
    """One figure against its limit; a missing figure (None) misses the goal."""

    subject: str
    what: str
    found: float | None
    limit: float | None

    @property
    def met(self) -> bool:
        """Whether the figure is there and no larger than the limit."""
        return self.found is not None and self.limit is not None and self.found <= self.limit


@dataclass
class Record:
    """Everything one bench command found; ``rows`` are plain values, one dictionary a measured command."""

    bench: str
    versions: dict[str, str]
    settings: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether every goal was met."""
        return all(goal.met for goal in self.goals)

    def write(self, path: Path) -> None:
        """Write the record as JSON."""
        goals = [{**asdict(goal), "met": goal.met} for goal in self.goals]
        document = {**asdict(self), "goals": goals, "machine": machine()}
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """Processor, system and Python of this machine."""
    return {"cpu": _processor(), "system": platform.system(), "python": platform.python_version()}


def own_version() -> str:
    """Installed version of graphopt, or "absent"."""
    try:
        return metadata.version("graphopt")
    except metadata.PackageNotFoundError:
        return "absent"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: first column to the left, figures to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def show_goals(goals: Sequence[Goal]) -> None:
    """Print every goal with its figure, its limit and whether it was met."""
    rows = [
        (
            f"{goal.subject}: {goal.what}",
            figure(goal.found),
            figure(goal.limit),
            "met" if goal.met else "MISSED",
        )
        for goal in goals
    ]
    show("goals", ("goal", "found", "at most", ""), rows)


def console() -> Console:
    """A console that does not wrap tables when the output goes to a file."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def figure(value: float | None) -> str:
    """A figure in few digits; a dash when it is missing."""
    if value is None:
        return "-"
    if isinstance(value, int) or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.1f}"


def _processor() -> str:
    """The processor's name; Linux keeps it in a file, elsewhere the platform module knows."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        names = [line for line in listing.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
