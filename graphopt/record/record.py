"""The record of a run: the one source of its table and of its report file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.record.plots import Figure
from graphopt.util.files import plain, write_json, write_text
from graphopt.util.pages import rendered

if TYPE_CHECKING:
    from graphopt.metrics.significance import Paired
    from graphopt.record.budget import BudgetRecord
    from graphopt.record.divergent_inputs import DivergentInput
    from graphopt.record.layers import LayerRecord

SCHEMA = 1


@dataclass(frozen=True)
class Change:
    """A node that a pass changed, and how."""

    node: str
    what: str


@dataclass(frozen=True)
class Skip:
    """A node that a pass left as it was, and why."""

    node: str
    reason: str


@dataclass(frozen=True)
class Measures:
    """One model, measured. ``macs`` and ``latency_ms`` are None when unknown or not measured."""

    nodes: int  # without Constant nodes
    constants: int
    parameters: int
    macs: int | None
    bytes: int
    latency_ms: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """Which samples the passes looked at."""

    source: str  # a path, or "synthetic"
    samples: int
    labels_used: bool = False
    training_used: bool = False
    shared_with_evaluation: int = 0


@dataclass(frozen=True)
class JudgedOn:
    """The samples that metrics and agreement were measured on; ``sha256`` is that of their raw content."""

    source: str
    samples: int
    sha256: str


@dataclass(frozen=True)
class PassRecord:
    """What one pass did. Sizes are those of the model after it."""

    name: str
    options: Mapping[str, Any]
    added: bool
    seconds: float
    changes: tuple[Change, ...] = ()
    skips: tuple[Skip, ...] = ()
    nodes: int = 0
    parameters: int = 0
    bytes: int = 0
    max_abs_diff: float | None = None  # of an exact pass that was compared
    snr_db: float | None = None  # of an approximate pass that was compared: the worst output
    plan: tuple[Mapping[str, Any], ...] | None = None
    figures: tuple[Figure, ...] = ()
    summary: str = ""  # one line for the table
    details: Mapping[str, Any] = field(default_factory=dict)  # plain values, as the pass calls them
    missed: tuple[str, ...] = ()  # goals that its plan does not reach, in words
    chosen: tuple[str, ...] = ()  # the options that differ from their defaults


@dataclass(frozen=True)
class Stage:
    """How large the model was after a pass, or at first (``input``); ``bytes`` are those of all weights."""

    name: str
    nodes: int
    parameters: int
    bytes: int
    macs: int | None


@dataclass(frozen=True)
class Record:
    """Everything a run has to say; ``to_json`` gives the report file."""

    graphopt: str
    command: tuple[str, ...]
    input: str
    output: str | None
    model_sha256: str
    output_sha256: str | None
    target: str
    seed: int
    shapes: Mapping[str, tuple[int, ...]]
    preprocess: Mapping[str, Any]
    machine: Mapping[str, Any]  # cpu, isa, threads, onnxruntime
    calibration: Calibration
    before: Measures
    after: Measures
    agreement: Mapping[str, Any]
    passes: tuple[PassRecord, ...]
    warnings: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()  # these two are filled when a report file is asked for
    layers: tuple[LayerRecord, ...] = ()
    judged_on: JudgedOn | None = None  # None where nothing was compared
    paired: Mapping[str, Paired] = field(default_factory=dict)  # the change of each metric; in JSON if any
    goals: Mapping[str, Any] = field(default_factory=dict)  # those of the run, by their flags
    divergent: tuple[DivergentInput, ...] = ()  # the inputs that are answered least alike; in report files
    budget: BudgetRecord | None = None  # the search over the passes that shared one; in JSON if any
    # both models timed in turn: ratio of the times, its relative uncertainty, pairs; in JSON if any
    speed: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; a number that is not finite becomes null."""
        fields = dataclasses.asdict(self)
        for name in ("paired", "budget", "speed"):
            if not getattr(self, name):
                del fields[name]
        fields["passes"] = [_pass_json(entry) for entry in fields["passes"]]
        document: dict[str, Any] = plain({"schema": SCHEMA, **fields})
        return document

    def write(self, path: Path) -> None:
        """Write the report file, as a page when its name ends in .html; OutputError when that fails."""
        if path.suffix == ".html":
            write_text(path, rendered("report", self.to_json()))
        else:
            write_json(path, self.to_json())


def _pass_json(entry: dict[str, Any]) -> dict[str, Any]:
    entry = {key: value for key, value in entry.items() if value or key not in ("summary", "details")}
    optional = ("max_abs_diff", "snr_db", "plan", "figures", "missed")
    return {key: value for key, value in entry.items() if key not in optional or value not in (None, ())}
