"""Which backends were run last for the benchmark of targets, in which version and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

FILE = "runs.json"  # written by tools/bench/backends.py


@dataclass(frozen=True)
class LastRun:
    """A backend as it was run."""

    version: str
    date: str


@lru_cache(maxsize=1)
def last_runs() -> Mapping[str, LastRun]:
    """The last run of each backend by name."""
    text = (resources.files("graphopt.targets") / FILE).read_text(encoding="utf-8")
    return {name: LastRun(**entry) for name, entry in json.loads(text).items()}
