"""Keep the results of trials as they come, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphopt.analysis.sensitivity.trial_evaluator import TrialResult
from graphopt.cost import LayerShape
from graphopt.errors import OutputError
from graphopt.pipeline.contract.base import Trial
from graphopt.record.sensitivity import Point

FORMAT = 1  # fixed: raise it when a result changes its meaning


class TrialLog:
    """A file of results, a line of JSON each, that only grows; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known = {} if path is None else _read(path)

    @classmethod
    def open(cls, folder: Path | None, request: Any) -> TrialLog:
        """The log of everything that ``request``, plain values, tells apart."""
        if folder is None:
            return cls(None)
        text = json.dumps([FORMAT, request], sort_keys=True, default=str)
        return cls(folder / f"sensitivity-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl")

    def find(self, trial: Trial) -> TrialResult | None:
        """What an earlier run measured for this trial."""
        return self._known.get(_key(trial))

    def keep(self, trial: Trial, tried: TrialResult) -> None:
        """Write one result; OutputError when that fails."""
        self._known[_key(trial)] = tried
        if self.path is None:
            return
        line = json.dumps({"key": _key(trial), **dataclasses.asdict(tried)}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OutputError(
                f"the results of trials cannot be kept in {self.path}: {error.strerror or error}",
                hint="name a folder with --cache, or --cache off",
            ) from error


def _key(trial: Trial) -> str:
    text = json.dumps([trial.item, trial.level, [dict(i) for i in trial.plan.items]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, TrialResult]:
    """The results in a file; lines that were cut short are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    results: dict[str, TrialResult] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            results[str(entry["key"])] = _tried(entry)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # a crash or a full disk cut it short: the trial is carried out anew
    return results


def _tried(entry: Mapping[str, Any]) -> TrialResult:
    gone, come = (tuple(_layer(values) for values in entry[name]) for name in ("gone", "come"))
    return TrialResult(Point(**entry["point"]), gone, come, bool(entry["is_timed"]))


def _layer(values: Mapping[str, Any]) -> LayerShape:
    attrs = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in values["attrs"])
    source, weight = tuple(values["input"]), tuple(values["weight"])
    return LayerShape(values["op"], source, weight, attrs, values["dtype"])
