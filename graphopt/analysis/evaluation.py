"""How well a model does on samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.analysis.loaded_model import LoadedModel
from graphopt.errors import DataError, ModelError, UsageError
from graphopt.metrics import Classification, Detection, Generic, Limits, Paired, Segmentation, Task
from graphopt.pipeline.results import measure
from graphopt.runtime import Comparison
from graphopt.util.files import plain

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth
    from graphopt.runtime import Session

TASKS = ("classification", "detection", "segmentation", "generic")


@dataclass(frozen=True)
class Evaluation:
    """How a model does on samples: ``metrics`` with labels, ``agreement`` with a reference.

    ``paired`` has the change of each metric from the reference on the same samples with its 95 % interval;
    ``details`` what the task has to say besides.
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

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values."""
        document: dict[str, Any] = plain(vars(self))
        return document


def evaluate(
    model: str | Path,
    data: str,
    *,
    reference: str | Path | None = None,
    task: str | None = None,
    labels: str | None = None,
    decode: str | None = None,
    confidence: float | None = None,
    threshold: float | None = None,
    preprocess: str | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: Mapping[str, Any] | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Any = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on samples by what it is for, and against ``reference`` on the same samples.

    Without a ``task`` a model with one output of class scores is a classifier, any other is compared output
    by output. ``labels`` are the boxes of a detector or the masks of a segmenter
    (``graphopt.data.ground_truth.truth``). ``decode`` says how a detector writes boxes (guessed from the
    shapes of its outputs by default), ``confidence`` is the score of boxes compared with the reference,
    ``threshold`` the value above which a map of one class has it.

    Raises UsageError for an unknown task or options that do not belong to it, DataError when there is neither
    truth nor a reference, ModelError when the outputs are not those of the task.
    """
    judge = make_task(task, decode=decode, confidence=confidence, threshold=threshold)
    if labels is not None and not judge.labels:
        raise UsageError(
            f"--labels belongs to detection and segmentation, not to {judge.name}",
            hint="class labels come with the data: --data data.npz#images,labels",
        )
    opened = LoadedModel(model, data, preprocess, shape, session, announce)
    samples = opened.samples
    assert samples is not None
    truth = _truth(judge, labels, samples)
    known = truth is not None or (samples.labelled and isinstance(judge, Classification))
    if not known and reference is None:
        raise DataError(_nothing_to_judge_by(judge, samples), hint="give --reference MODEL to compare with")
    other = None if reference is None else LoadedModel(reference, None, None, shape, session).open()
    watched = samples if progress is None else progress("evaluating", samples, len(samples))
    found = _Answers(judge, truth, task is None).collect(opened.open(), other, watched, samples)
    outcome = found.judge.outcome(seed)
    if not outcome.metrics and known and isinstance(found.judge, Classification):
        raise ModelError(f"{model} has no output of class scores to compare labels with")
    agreement = {**outcome.agreement, **({} if other is None else {"snr_db": found.decibels()})}
    return Evaluation(
        samples=found.samples,
        source=samples.source,
        metrics=outcome.metrics,
        reference_metrics=outcome.reference_metrics,
        agreement=agreement,
        preprocess=opened.recipe,
        warnings=tuple(opened.warnings),
        task=found.judge.name,
        paired=outcome.paired,
        details=outcome.details,
    )


def make_task(
    name: str | None,
    *,
    decode: str | None = None,
    confidence: float | None = None,
    threshold: float | None = None,
) -> Task:
    """The task of that name; UsageError for an unknown one and for options of another."""
    if name is not None and name not in TASKS:
        raise UsageError(f"--task {name} is not known; this version has: {', '.join(TASKS)}")
    for option, value, owner in (
        ("--decode", decode, "detection"),
        ("--confidence", confidence, "detection"),
        ("--threshold", threshold, "segmentation"),
    ):
        if value is not None and name != owner:
            raise UsageError(f"{option} belongs to --task {owner}", hint=f"add --task {owner}")
    if name == "detection":
        chosen = {} if confidence is None else {"confident": confidence}
        return Detection(decode, Limits(), **chosen)
    if name == "segmentation":
        return Segmentation(threshold)
    return Generic() if name == "generic" else Classification()


def _truth(judge: Task, labels: str | None, samples: Samples) -> Truth | None:
    if labels is None:
        return None
    from graphopt.data.ground_truth.truth import load_boxes, load_masks

    return (load_boxes if judge.labels == "boxes" else load_masks)(labels, samples)


def _nothing_to_judge_by(judge: Task, samples: Samples) -> str:
    if judge.labels:
        return f"there are no {judge.labels} to judge {samples.source} by (--labels)"
    return f"{samples.source} has no labels"


class _Answers:
    """Runs one model, or two, over samples and lets a task judge; keeps sums only."""

    def __init__(self, judge: Task, truth: Truth | None, may_change: bool) -> None:
        self.judge = judge
        self.samples = 0
        self._truth = truth
        self._may_change = may_change
        self._comparison = Comparison()

    def collect(
        self, model: Session, other: Session | None, watched: Iterable[Sample], samples: Samples
    ) -> _Answers:
        for sample in watched:
            outputs = model.run(sample.feeds)
            reference = None if other is None else other.run(sample.feeds)
            if self.samples == 0:
                self._settle(outputs, samples)
            self.samples += 1
            if reference is not None:
                self._comparison.update(reference, outputs)
            truth = sample.labels if self._truth is None else self._truth.of(sample)
            self.judge.update(outputs, reference, sample, truth)
        return self

    def _settle(self, outputs: Mapping[str, Any], samples: Samples) -> None:
        """Check the labels of a classifier; without a task, compare what is none output by output."""
        from graphopt.runtime import classifier_output

        if not isinstance(self.judge, Classification):
            return
        name = classifier_output(outputs)
        if name is not None:
            samples.check_labels(outputs[name].shape[1])
        elif self._may_change and not samples.labelled:
            self.judge = Generic()

    def decibels(self) -> dict[str, float]:
        """The signal-to-noise ratio of each output."""
        return measure.decibels(self._comparison.result())
