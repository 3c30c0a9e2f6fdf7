"""Checks before training that find gradients which are silently wrong.

Self-loss: with the student's own answers for the teacher's, the loss in training mode must be nothing.
Direction: along random directions, finite differences of the loss must agree with the gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .events import Events, Failure, Job
from .parts import Part

SELF_LOSS = 1e-5  # noise: times the loss's own size: rounding makes a few times 1e-7
DIRECTIONS = 3  # noise: the median of three is right though one of them crosses the kink of a Relu
# theory: of a parameter's own size; central differences are best near the cube root of the rounding, 5e-3,
# and some where kinks are near need less
STEPS = (1e-3, 3e-3, 3e-4, 1e-2)
TOLERANCE = 0.05  # noise: a difference as small as ROUNDING is known to float32's 1.2e-7, a twenty-fifth
ROUNDING = 3e-6  # noise: of the loss: smaller differences cannot be distinguished from rounding


def check(engine: Any, job: Job, events: Events) -> None:
    """Run what the job allows; raises Failure for the first check that fails."""
    if "self" in job["check"]:
        _self_loss(engine, job)
        events.send("checked", what="self-loss")
    if "direction" in job["check"]:
        _Direction(engine, job).check()
        events.send("checked", what="direction")


def _self_loss(engine: Any, job: Job) -> None:
    feeds = Part(Path("self"), len(job["feeds"])).batch(np.arange(job["batch"]))
    loss = abs(engine.step(feeds)) * job["accumulate"]
    engine.forget()
    if not loss < SELF_LOSS * max(1.0, job["scale"]):
        raise Failure(
            "self_loss",
            f"the student's own answers as the teacher's give a training loss of {loss:.3g} and not 0: "
            "something behaves otherwise in training",
        )


def _wrong_answers(part: Part, job: Job) -> list[np.ndarray]:
    """A batch in which the teacher answers wrongly: a loss far from its least value has slopes to measure."""
    feeds = part.batch(np.arange(job["batch"]))
    for number, name in enumerate(job["feeds"]):
        if name.startswith("teacher::"):
            feeds[number] = np.ascontiguousarray(-np.roll(feeds[number], 1, axis=0))
    return feeds


class _Direction:
    """Compares slopes of the loss, measured and as the gradient says."""

    def __init__(self, engine: Any, job: Job) -> None:
        self._engine, self._job = engine, job
        self._rng = np.random.default_rng([job["seed"], 1])
        self._feeds = _wrong_answers(Part(Path("val"), len(job["feeds"])), job)
        self._start = {name: engine.parameter(name) for name in job["parameters"]}
        loss = engine.step(self._feeds)
        if not np.isfinite(loss):
            raise Failure("diverged", "the loss is not a number before training")
        self._loss = abs(loss)
        self._gradient = {name: engine.gradient(name) for name in self._start}
        engine.forget()

    def check(self) -> None:
        """Raise Failure naming the parameter whose gradient is wrong."""
        wrong = [name for name, values in self._gradient.items() if not np.isfinite(values).all()]
        if wrong:
            raise Failure("gradient", f"the gradient of {wrong[0]} is not a number", wrong[0])
        errors = [self._error(list(self._start)) for _ in range(DIRECTIONS)]
        if sorted(errors)[DIRECTIONS // 2] <= TOLERANCE:
            return
        alone = {name: self._error([name]) for name in self._start}
        worst = max(alone, key=lambda name: alone[name])
        if alone[worst] > TOLERANCE:
            raise Failure(
                "gradient",
                f"the gradient of {worst} is off by {alone[worst]:.0%} along a random direction",
                worst,
            )
        raise Failure("gradient", f"the gradient is off by {min(errors):.0%} along random directions")

    def _error(self, names: list[str]) -> float:
        """The smallest relative error over some step sizes; 0 where it may be rounding."""
        direction = {name: self._random(self._start[name]) for name in names}
        slope = sum(
            float(np.sum(direction[name].astype(np.float64) * self._gradient[name])) for name in names
        )
        best = np.inf
        for step in STEPS:
            difference = self._at(direction, step) - self._at(direction, -step)
            if abs(difference) < ROUNDING * self._loss and abs(slope) * 2 * step < ROUNDING * self._loss:
                continue
            measured = difference / (2 * step)
            best = min(best, abs(measured - slope) / max(abs(measured), abs(slope)))
            if best <= TOLERANCE:
                break
        for name in names:
            self._engine.set_parameter(name, self._start[name])
        return 0.0 if best == np.inf else float(best)

    def _random(self, values: np.ndarray) -> np.ndarray:
        size = float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) or 1.0
        return (size * self._rng.standard_normal(values.shape)).astype(np.float32)

    def _at(self, direction: dict[str, np.ndarray], step: float) -> float:
        for name, values in direction.items():
            self._engine.set_parameter(name, (self._start[name] + step * values).astype(np.float32))
        loss = self._engine.step(self._feeds)
        self._engine.forget()
        return loss
