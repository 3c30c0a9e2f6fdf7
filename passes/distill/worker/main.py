"""From job.json to the last event: what a worker does, and how it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .check import check
from .events import Control, Events, Failure, Job
from .loop import Training

FAILED = 3  # fixed: exit code


def main() -> int:
    """Run the job in the current folder; the exit code is 0, or 3 after an ``error`` event."""
    events = Events()
    try:
        job = json.loads(Path("job.json").read_text(encoding="utf-8"))
        _run(job, events)
    except Failure as failure:
        events.send("error", code=failure.code, message=str(failure), node=failure.node)
        return FAILED
    except OSError as error:
        events.send("error", code="disk", message=f"{error.strerror or error}: {error.filename}", node="")
        return FAILED
    except MemoryError:
        events.send("error", code="memory", message="there is too little memory", node="")
        return FAILED
    return 0


def _run(job: Job, events: Events) -> None:
    engine_type = _engine(job["engine"])
    events.send("hello", versions=engine_type.versions(), python=sys.version.split()[0])
    if job["task"] == "hello":
        return
    engine = engine_type(job)
    events.send("ready")
    if job["check"]:
        check(engine, job, events)
    if job["task"] == "tune":
        Training(engine_type(job) if job["check"] else engine, job, events, Control()).run()


def _engine(name: str) -> Any:
    if name == "torch":
        from .torch_engine import TorchEngine

        return TorchEngine
    from .ort_engine import OrtEngine

    return OrtEngine
