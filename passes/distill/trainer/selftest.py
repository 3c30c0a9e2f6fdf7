"""Train two steps of a tiny model, to see that a trainer works."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphopt import ir
from graphopt.errors import PassError
from graphopt.ir import Variable

from ..backends.base import Job
from ..backends.worker import Worker, write_job

BATCH = 4  # time: rows of a toy problem; any number does
SETTINGS = {
    "epochs": 1,
    "lr": 0.01,
    "batch": BATCH,
    "batches": 2,
    "accumulate": 1,
    "optimizer": "adamw",
    "schedule": "constant",
    "warmup": 0,
    "clip": 0.0,
    "weight_decay": 0.0,
    "patience": 0,
    "seed": 0,
    "threads": 1,
    "save_every": 0.0,
    "parts": 0,
    "feeds": ["x"],
    "parameters": ["w"],
    "statistics": [],
    "fingerprint": "selftest",
    "check": [],
    "scale": 1.0,
}


def selftest(python: Path, engine: str = "ort") -> Mapping[str, Any]:
    """Return what the worker says of itself; raises PassError unless the loss falls."""
    folder = Path(tempfile.mkdtemp(prefix="graphopt-selftest-"))
    try:
        job = _job(folder)
        write_job(job, {"engine": engine, "task": "tune"})
        events = list(Worker(python, folder).events())
    except PassError as error:
        raise PassError(f"the trainer is broken: {error}", hint="graphopt trainer install --force") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    hello, done = events[0], events[-1]
    if done["event"] != "done" or not done["best_loss"] < done["first_loss"]:
        raise PassError(
            "the trainer is broken: two steps did not train", hint="graphopt trainer install --force"
        )
    return hello


def _job(folder: Path) -> Job:
    """loss = mean((x w)^2), which falls when w shrinks."""
    model = ir.blank(17)
    graph = model.graph
    x = Variable(graph.names.unique("x"), np.float32, (BATCH, 3))
    graph.inputs.append(x)
    weight = graph.add_constant("w", np.ones((3, 2), np.float32))
    product = graph.add_node("MatMul", [x, weight]).output
    square = graph.add_node("Mul", [product, product]).output
    loss = Variable(graph.names.unique("loss"), np.float32, ())
    graph.add_node("ReduceMean", [square], {"keepdims": 0}, outputs=[loss])
    graph.outputs = [loss]
    model.write(folder / "train.onnx")
    rng = np.random.default_rng(0)
    for part, rows in (("train", 2 * BATCH), ("val", BATCH)):
        (folder / part).mkdir()
        np.save(folder / part / "0.npy", rng.standard_normal((rows, 3)).astype(np.float32))
    return Job(folder, SETTINGS)
