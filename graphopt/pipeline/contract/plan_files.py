"""Plan files: what the planned passes of a run decided, to look at, edit and replay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Plan, PlannedPass
from graphopt.pipeline.spec.arrange import PipelineEntry
from graphopt.record.record import PassRecord
from graphopt.util.files import write_json

SCHEMA = 1  # fixed: version of the file format of plans


@dataclass(frozen=True)
class Plans:
    """The plans of one run by the position of their pass."""

    by_index: Mapping[int, tuple[str, Plan]] = field(default_factory=dict)
    calibration: str = ""  # what the file says of synthetic samples that the plans go by

    def find(self, index: int) -> Plan | None:
        """The plan for the pass at ``index``, if the file has one."""
        return self.by_index[index][1] if index in self.by_index else None

    def check(self, stages: Sequence[PipelineEntry]) -> None:
        """Raise UsageError when a plan belongs to no pass of the run."""
        for index, (name, _) in self.by_index.items():
            there = stages[index].step if 0 <= index < len(stages) else None
            if there is None or there.name != name:
                actual = f"there is {there.name}" if there else f"the run has {len(stages)} passes"
                raise UsageError(
                    f"the plan is for {name} as pass {index}, but {actual}",
                    hint="replay a plan with the passes it was made with",
                )
            if not isinstance(there, PlannedPass):
                raise UsageError(f"the plan is for {name}, which makes no plans")


def read_plans(path: Path, model_sha256: str) -> Plans:
    """Read a plan file; UsageError when it is none, or was made for another model."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = document["passes"]
        plans = {int(e["index"]): (str(e["name"]), _plan(e)) for e in entries}
        schema, made_for = document["schema"], document["model_sha256"]
        calibration = str(document.get("calibration", ""))
    except OSError as error:
        raise UsageError(f"the plan {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not a plan file: {type(error).__name__}: {error}") from error
    if schema != SCHEMA:
        raise UsageError(f"the plan {path} has schema {schema}; this graphopt reads schema {SCHEMA}")
    if made_for != model_sha256:
        raise UsageError(
            f"the plan {path} was made for another model: sha256 {made_for}, but this one has {model_sha256}",
            hint="make a new plan with --plan-out",
        )
    return Plans(plans, calibration)


def write_plans(path: Path, model_sha256: str, records: Iterable[PassRecord], calibration: str = "") -> None:
    """Write the plans of a finished run; OutputError when that fails."""
    entries = [
        {
            "name": record.name,
            "index": index,
            "items": [dict(item) for item in record.plan],
            **({"missed": list(record.missed)} if record.missed else {}),
        }
        for index, record in enumerate(records)
        if record.plan is not None
    ]
    noted = {"calibration": calibration} if calibration else {}
    write_json(path, {"schema": SCHEMA, "model_sha256": model_sha256, **noted, "passes": entries})


def _plan(entry: Mapping[str, Any]) -> Plan:
    return Plan(tuple(_items(entry["items"])), tuple(str(text) for text in entry.get("missed", ())))


def _items(items: Any) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TypeError("items is not a list of objects")
    return items
