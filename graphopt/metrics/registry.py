"""Which metrics exist, and the one that a user chose: by task, or a function of the user's own.

A metric is a class in a file of its own and an entry in ``BUILT_IN``; packages of others register theirs as
entry points of the group ``graphopt.metrics``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.data.feeder import content_key
from graphopt.errors import UsageError
from graphopt.metrics.base import Metric
from graphopt.metrics.user_function import UserFunction
from graphopt.util.registry import Broken, Registry, added, named

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.data.ground_truth.truth import Truth

GROUP = "graphopt.metrics"
BUILT_IN = {
    "classification": "graphopt.metrics.classification:Classification",
    "detection": "graphopt.metrics.detection:Detection",
    "segmentation": "graphopt.metrics.segmentation:Segmentation",
    "text": "graphopt.metrics.text:Text",
    "generic": "graphopt.metrics.outputs:Generic",
}


@dataclass(frozen=True)
class MetricSpec:
    """How a model is judged, as a user says it; the fields are flags of the same name.

    ``metric`` is ``FILE.py:FUNCTION`` or, in Python, a function (``UserFunction``); ``labels`` is where the
    labels of a task are, or an array of them, ``decode``, ``confidence`` and ``threshold`` are options of
    tasks.

    Raises UsageError for an unknown task and for options that do not belong to it.
    """

    task: str | None = None
    metric: str | Callable[..., Any] | None = None
    labels: Any = None
    decode: str | None = None
    confidence: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.task is not None and self.metric is not None:
            raise UsageError(
                "--task and --metric both say how the model is judged", hint="give one of the two"
            )
        known = () if self.task is None else find(self.task).options
        for name in self.options:
            if name not in known:
                owners = " or ".join(
                    f"--task {task}" for task, options in _options().items() if name in options
                )
                raise UsageError(f"--{name} belongs to {owners}", hint=f"add {owners}")
        if self.labels is not None and self.metric is None:
            owner = find(self.task or "classification")
            if not owner.labels:
                raise UsageError(
                    f"--labels belongs to tasks with labels of their own, not to {owner.name}",
                    hint="add --task; class labels come with the data: data.npz#images,labels",
                )

    @property
    def options(self) -> dict[str, Any]:
        """The options of tasks that are given."""
        names = [field.name for field in fields(self) if field.name not in ("task", "metric", "labels")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def make(self) -> Metric | None:
        """A metric that has seen nothing yet; None when nothing was chosen."""
        if self.metric is not None:
            return (
                UserFunction.load(self.metric) if isinstance(self.metric, str) else UserFunction(self.metric)
            )
        return None if self.task is None else find(self.task)(**self.options)

    def identity(self) -> dict[str, Any]:
        """What results depend on, as plain values: the fields, and when the files that they name changed."""
        given = self.labels
        if given is not None and not isinstance(given, str):
            given = content_key(given)
        files = (str(given).partition("#")[0], str(self.metric).rpartition(":")[0])
        changed = [Path(file).stat().st_mtime_ns if Path(file).exists() else 0 for file in files]
        return {**vars(self), "labels": given, "changed": changed}

    def truth(self, samples: Samples) -> Truth | None:
        """The labels of ``samples``; None where they come with the data or there are none."""
        metric = self.make()
        return None if self.labels is None or metric is None else metric.truth(self.labels, samples)


def names() -> tuple[str, ...]:
    """The tasks that are registered, our own first."""
    return (*BUILT_IN, *(name for name in _registry().names if name not in BUILT_IN))


def find(task: str) -> type[Metric]:
    """The metric registered as ``task``; UsageError when there is none or it cannot be imported."""
    entry = _registry().find(task)
    if isinstance(entry, Broken):
        raise UsageError(f"--task {entry.error()}", hint=entry.hint)
    if not issubclass(entry, Metric):
        raise UsageError(f"--task {task} cannot be loaded: {entry!r} is no metric")
    return entry


@functools.cache
def _registry() -> Registry:
    return Registry([*named(GROUP, BUILT_IN), *added(GROUP)], kind="metric", of=type)


def _options() -> dict[str, tuple[str, ...]]:
    return {task: find(task).options for task in BUILT_IN}
