"""How well a model does on samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphopt.analysis.loaded_model import LoadedModel
from graphopt.errors import DataError, ModelError, UsageError
from graphopt.execution import WorkersLike, open_workers
from graphopt.metrics import Classification, Judge, Metric, MetricSpec, Paired, UserFunction
from graphopt.pipeline.results.spread import SpreadAnswers
from graphopt.util.files import plain
from graphopt.util.progress import silent

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.runtime import SessionOptions


@dataclass(frozen=True)
class Evaluation:
    """How a model does on samples: ``metrics`` with labels, ``agreement`` with a reference.

    ``paired`` has the change of each metric from the reference on the same samples with its 95 % interval;
    ``details`` what the task has to say besides, ``drop`` the points lost from the reference: of the metric,
    without labels of the share of equal answers.
    """

    samples: int
    source: str
    metrics: Mapping[str, float]
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    task: str = "classification"
    paired: Mapping[str, Paired] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    drop: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values."""
        document: dict[str, Any] = plain(vars(self))
        return document


def evaluate(
    model: Any,
    data: Any,
    *,
    reference: Any = None,
    task: str | None = None,
    metric: str | Callable[..., Any] | None = None,
    labels: Any = None,
    decode: str | None = None,
    confidence: float | None = None,
    threshold: float | None = None,
    preprocess: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: SessionOptions | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Any = None,
    seed: int = 0,
    workers: WorkersLike | None = None,
    heterogeneous: bool = False,
) -> Evaluation:
    """Measure a model on samples by what it is for, and against ``reference`` on the same samples.

    Without a ``task`` a model with one output of class scores is a classifier, any other is compared output
    by output. ``model``, ``reference`` and ``data`` are given as in ``optimize``. ``metric`` is a function of
    outputs and labels, or ``FILE.py:FUNCTION``, that returns one value for each sample, higher is better
    (``graphopt.metrics.UserFunction``). ``labels`` are the boxes of a detector, the masks of a segmenter, the
    lines of a reader of text, or an array with a row for each sample for a ``metric``
    (``graphopt.data.ground_truth.truth``). ``decode`` says how a detector writes boxes (guessed from the
    shapes of its outputs by default), ``confidence`` is the score of boxes compared with the reference,
    ``threshold`` the value above which a map of one class has it. ``workers`` and ``heterogeneous`` say who
    runs the models, as in ``optimize``.

    Raises UsageError for an unknown task, options that do not belong to it and a function that fails,
    DataError when there is neither truth nor a reference, ModelError when the outputs are not those of the
    task.
    """
    spec = MetricSpec(task, metric, labels, decode, confidence, threshold)
    chosen = spec.make()
    opened = LoadedModel(model, data, preprocess, shape, session, announce, transform)
    samples = opened.samples
    if samples is None:
        raise UsageError("evaluate needs data: there are no samples to measure on")
    truth = spec.truth(samples)
    classifies = chosen is None or chosen.takes_class_labels
    has_truth = truth is not None or (samples.labelled and classifies) or isinstance(chosen, UserFunction)
    if not has_truth and reference is None:
        raise DataError(_nothing_to_judge_by(chosen, samples), hint="give --reference MODEL to compare with")
    other = None if reference is None else LoadedModel(reference, None, None, shape, session)
    watch = progress or silent
    judge = Judge(samples, chosen, truth)
    with open_workers(workers, heterogeneous=heterogeneous, announce=announce or _unheard) as team:
        if team.is_here:
            verdict = judge.judge(
                opened.open(),
                None if other is None else other.open(),
                watched=watch("evaluating", samples, len(samples)),
                seed=seed,
                at_once=opened.session.samples_at_once,
            )
        else:
            answers = SpreadAnswers(
                team, samples, opened.model, None if other is None else other.model, opened.session
            )
            verdict = judge.judge(
                answers.candidate,
                None if other is None else answers.reference,
                watched=watch(f"evaluating on {team.description}", answers.samples(), len(samples)),
                seed=seed,
            )
    outcome = verdict.outcome
    if not outcome.metrics and has_truth and isinstance(verdict.metric, Classification):
        raise ModelError(f"{opened.name} has no output of class scores to compare labels with")
    if text := verdict.count.left_out("" if other is None else other.name):
        opened.warn(text)
    return Evaluation(
        samples=verdict.count.samples,
        source=samples.source,
        metrics=outcome.metrics,
        reference_metrics=outcome.reference_metrics,
        agreement=verdict.agreement,
        preprocess=opened.recipe,
        warnings=tuple(opened.warnings),
        task=verdict.metric.name,
        paired=outcome.paired,
        details=outcome.details,
        drop=verdict.drop,
    )


def _unheard(text: str) -> None:
    """Nobody listens."""


def _nothing_to_judge_by(chosen: Metric | None, samples: Samples) -> str:
    if chosen is not None and chosen.labels:
        return f"there are no {chosen.labels} to judge {samples.source} by (--labels)"
    return f"{samples.source} has no labels"
