"""What every worker does: read the request, run each model, time them in turn, write the answer.

A worker is a script that runs in the Python of a backend's environment, with numpy and the backend alone: it
must not import graphopt.  It is started as ``python run_NAME.py REQUEST.json``.  Arrays travel as raw files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

WARM_UP = 3  # time: runs of each model before timing
FEWEST, MOST = 10, 2000  # time: rounds in which every model runs once

Arrays = Mapping[str, np.ndarray]


class Loaded(Protocol):
    """A model that the backend has loaded; ``kernels`` may be absent where the runtime does not tell."""

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """The outputs by the names that they have in the ONNX file."""


class Job:
    """One model of a request; ``folder`` is its own, ``companions`` are files beside the model by kind."""

    def __init__(self, entry: Mapping[str, Any], threads: int) -> None:
        self.path = str(entry["path"])
        self.threads = threads
        self.folder = Path(entry["folder"])
        self.outputs: list[str] = list(entry["outputs"])
        self.companions: dict[str, str] = dict(entry["companions"])
        self.feeds = {one["name"]: _read(one) for one in entry["feeds"]}


def serve(version: str, load: Callable[[Job], Loaded]) -> None:
    """Answer the request that the command line names."""
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    jobs = [Job(entry, request["threads"]) for entry in request["models"]]
    answers: list[dict[str, Any]] = []
    models: list[Loaded | None] = []
    for job in jobs:
        answer, model = _first_run(job, load)
        answers.append(answer)
        models.append(model)
    running = [(index, model) for index, model in enumerate(models) if model is not None]
    if request["seconds"]:
        times = _times([(model, jobs[index].feeds) for index, model in running], request["seconds"])
        for (index, _), one in zip(running, times, strict=True):
            answers[index]["milliseconds"] = one
    document = {"version": version, "models": answers}
    Path(request["answer"]).write_text(json.dumps(document), encoding="utf-8")


def layers(
    counts: Mapping[str, int], layer_kinds: tuple[str, ...], integer: tuple[str, ...]
) -> dict[str, Any]:
    """The kernels of a model: counts by kind, and how many of its layers run on integers.

    A kind is a layer when it begins with one of ``layer_kinds``, on integers when it ends with ``integer``.
    """
    own = {kind: n for kind, n in counts.items() if kind.startswith(layer_kinds)}
    return {
        "counts": dict(counts),
        "layers": sum(own.values()),
        "integer": sum(n for kind, n in own.items() if kind.endswith(integer)),
    }


def _first_run(job: Job, load: Callable[[Job], Loaded]) -> tuple[dict[str, Any], Loaded | None]:
    try:
        model = load(job)
        outputs = model.run(job.feeds)
    except Exception as error:  # whatever a backend refuses a model with; the parent says it
        return {"error": f"{type(error).__name__}: {error}"}, None
    tell = getattr(model, "kernels", None)
    written = [_write(job.folder, i, name, value) for i, (name, value) in enumerate(outputs.items())]
    return {"outputs": written, "kernels": tell() if tell else None}, model


def _times(models: list[tuple[Loaded, Arrays]], seconds: float) -> list[list[float]]:
    """Milliseconds of every run of each model, all of them in turn."""
    for model, feeds in models * WARM_UP:
        model.run(feeds)
    times: list[list[float]] = [[] for _ in models]
    deadline = perf_counter() + seconds
    for number in range(MOST):
        if number >= FEWEST and perf_counter() > deadline:
            break
        for index, (model, feeds) in enumerate(models):
            start = perf_counter()
            model.run(feeds)
            times[index].append(1e3 * (perf_counter() - start))
    return times


def _read(entry: Mapping[str, Any]) -> np.ndarray:
    return np.fromfile(entry["file"], dtype=entry["dtype"]).reshape(entry["shape"])


def _write(folder: Path, number: int, name: str, value: np.ndarray) -> dict[str, Any]:
    file = folder / f"output_{number}.bin"
    value = np.ascontiguousarray(value)
    value.tofile(file)
    return {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "file": str(file)}
