"""What a trainer is: it checks a job and tunes its parameters.  Others register theirs by entry point."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graphopt.util.registry import Registry, added

GROUP = "graphopt.trainers"
OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """A folder with everything a trainer needs, and nothing else for it to see.

    ``train.onnx`` is the graph: its inputs are ``feeds``, its one output ``loss`` a scalar, its initializers
    named in ``parameters`` are to be trained, those in ``statistics`` are updated by live normalisations.
    ``val`` holds the validation set and ``train`` the training set, or ``train-E.P`` part P of epoch E which
    appears as ``parts`` are made; each has ``0.npy``, ``1.npy``, ... in the order of ``feeds``.  ``self`` is
    a batch in which the student's own answers stand for the teacher's.  ``job.json`` is ``document``.
    """

    folder: Path
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """What came of a job: the best parameters and statistics by name, and how it went.

    ``reason`` is finished, early_stop, stopped or diverged; epoch 0 is the student as it came.
    """

    values: Mapping[str, np.ndarray]
    reason: str
    best_epoch: int
    first_loss: float
    best_loss: float
    history: tuple[Mapping[str, float], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """A trainer.  Made without arguments; every failure is a GraphoptError."""

    def ready(self) -> None:
        """Raise UsageError, with the command to run as its hint, when the trainer is not installed."""

    def check(self, job: Job) -> None:
        """Look for what would go wrong, without training; raises PassError naming operator and node."""

    def tune(self, job: Job, on_event: OnEvent) -> Tuned:
        """Train.  ``on_event`` hears ``progress`` and ``eval`` events; a KeyboardInterrupt keeps the best.

        Raises PassError when nothing came of it.
        """


@functools.cache
def backends() -> Registry:
    """The registered trainers."""
    return Registry(added(GROUP), kind="trainer")


def open_backend(name: str) -> Backend:
    """The trainer of that name; UsageError when there is none."""
    made: Backend = backends().load(name)()
    return made
