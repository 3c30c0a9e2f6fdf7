"""How well a model does on samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.errors import DataError, ModelError, UsageError
from graphopt.report import measure
from graphopt.report.opened import Opened
from graphopt.report.record import plain

TASKS = ("classification",)


@dataclass(frozen=True)
class Evaluation:
    """How a model does on samples: ``metrics`` with labels, ``agreement`` with a reference."""

    samples: int
    source: str
    metrics: Mapping[str, float]
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values."""
        document: dict[str, Any] = plain(vars(self))
        return document


def evaluate(
    model: str | Path,
    data: str,
    *,
    reference: str | Path | None = None,
    task: str = "classification",
    preprocess: str | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: Mapping[str, Any] | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Any = None,
) -> Evaluation:
    """Measure a model on samples: top-1 and top-5 with labels, agreement with ``reference`` when given.

    Raises UsageError for an unknown task, DataError when there are neither labels nor a reference.
    """

    if task not in TASKS:
        raise UsageError(f"--task {task} is not known; this version has: {', '.join(TASKS)}")
    opened = Opened(model, data, preprocess, shape, session, announce)
    samples = opened.samples
    assert samples is not None
    if not samples.labelled and reference is None:
        raise DataError(f"{samples.source} has no labels", hint="give --reference MODEL to measure agreement")
    other = None if reference is None else Opened(reference, None, None, shape, session).open()
    watched = samples if progress is None else progress("evaluating", samples, len(samples))
    scores = measure.answer(opened.open(), watched, other, labelled=samples)
    if samples.labelled and not scores.candidate.count:
        raise ModelError(f"{model} has no output of class scores to compare labels with")
    return Evaluation(
        samples=scores.samples,
        source=samples.source,
        metrics=measure.metrics(scores.candidate),
        reference_metrics=measure.metrics(scores.reference),
        agreement=scores.to_agreement() if other is not None else {},
        preprocess=opened.recipe,
        warnings=tuple(opened.warnings),
    )
