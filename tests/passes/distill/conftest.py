"""What tests of distillation share: samples, a fake trainer, and the real one where it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.data import Samples
from graphopt.errors import GraphoptError
from graphopt.passes.distill.backends.base import Job, OnEvent, Tuned
from graphopt.passes.distill.qat.fake_quant import spelled_out
from graphopt.passes.distill.trainer.environment import MARKER, trainer_path
from graphopt.pipeline.contract.context import Context, RunSettings
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session


class FakeTrainer:
    """Trains by chance: it moves all parameters at random and keeps what makes the validation loss smaller.

    It reads what the real ones read, so that a job which is written wrongly fails here too.
    """

    tries = 30
    step = 0.05
    spoil = False  # return parameters that are worse

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []

    def ready(self) -> None:
        """It is always there."""

    def check(self, job: Job) -> None:
        """Every array has a row for each sample, and the student's own answers cost nothing."""
        for part in ("val", "self"):
            rows = {len(array) for array in _arrays(job, part)}
            assert len(rows) == 1, (part, rows)

    def tune(self, job: Job, on_event: OnEvent) -> Tuned:
        """Search."""
        self.jobs.append({**job.document, "files": sorted(p.name for p in job.folder.iterdir())})
        json.dumps(dict(job.document))
        loss = _Loss(job)
        values = {name: loss.start[name] for name in job.document["parameters"]}
        first = best = loss(values)
        rng = np.random.default_rng(job.document["seed"])
        for number in range(self.tries):
            moved = {
                name: (value + self.step * np.abs(value).mean() * rng.standard_normal(value.shape)).astype(
                    np.float32
                )
                for name, value in values.items()
            }
            found = loss(moved)
            on_event(
                {"event": "progress", "epoch": 0, "done": number + 1, "total": self.tries, "loss": found,
                 "images_per_second": 1.0, "seconds_left": 1.0}
            )  # fmt: skip
            if found < best or self.spoil:
                values, best = moved, found
        on_event({"event": "eval", "epoch": 1, "loss": best})
        history = ({"epoch": 0, "loss": first}, {"epoch": 1, "loss": best})
        return Tuned(values, "finished", 1, first, best, history)


class _Loss:
    """The loss of a job over its validation set, as a function of parameters."""

    def __init__(self, job: Job) -> None:
        self._model = spelled_out(ir.load(job.folder / "train.onnx"))
        self._tensors = {t.name: t for t in self._model.graph.initializers}
        self.start = {name: np.array(self._tensors[name].constant) for name in job.document["parameters"]}
        arrays, size = _arrays(job, "val"), job.document["batch"]
        names = job.document["feeds"]
        self._feeds = [
            {name: np.array(array[i : i + size]) for name, array in zip(names, arrays, strict=True)}
            for i in range(0, len(arrays[0]) - size + 1, size)
        ]

    def __call__(self, values: dict[str, np.ndarray]) -> float:
        for name, value in values.items():
            self._tensors[name].values = value
        session = Session(self._model)
        return float(np.mean([session.run(feeds)["loss"] for feeds in self._feeds]))


def _arrays(job: Job, part: str) -> list[np.ndarray]:
    count = len(job.document["feeds"])
    return [np.load(job.folder / part / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(count)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    """The fake trainer, in the place of every registered one."""
    trainer = FakeTrainer()
    monkeypatch.setattr("graphopt.passes.distill.backends.base.open_backend", lambda name: trainer)
    return trainer


MakeSamples = Callable[..., Samples]


def make_samples(model: ir.Model, count: int = 64, *, seed: int = 0, labels: Any = None) -> Samples:
    """Random images for x of a small network."""
    rng = np.random.default_rng(seed)
    (port,) = model.signature.inputs
    arrays = {"x": rng.standard_normal((count, *port.shape[1:])).astype(np.float32)}
    if labels is not None:
        arrays["labels"] = np.asarray(labels)
    return data.from_arrays(arrays, [port])


def make_context(model: ir.Model, samples: Samples | None, **settings: Any) -> Context:
    """A run over these samples."""
    return Context(Inputs(model, calibration=samples, seed=settings.get("seed", 0)), RunSettings(**settings))


@pytest.fixture(scope="session")
def trainer() -> None:
    """The real trainer; tests that need it are skipped where it is not installed."""
    if not (trainer_path() / MARKER).is_file():
        pytest.skip("no trainer is installed: graphopt trainer install")


def reason(error: GraphoptError) -> str:
    """What a user reads."""
    return f"{error} | {error.hint}"
