"""The one loop that says how good a model is: it runs over samples, and metrics look at the answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graphopt.errors import ModelError
from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.classification import Classification
from graphopt.metrics.outputs import Generic, decibels
from graphopt.runtime import Difference, classifier_output
from graphopt.runtime.in_order import in_order

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.data.ground_truth.truth import Truth

KEPT = 64 * 2**20  # memory: bytes of a model's answers kept for the next one that is compared with it

Answer = Callable[[Any], Outputs]
"""What a model answers to a sample, or to a batch; asked in the order of the samples."""


class Looks(Protocol):
    """What looks at answers: a metric, or a part of one that a search needs."""

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Any, truth: Any) -> None:
        """Take the answers to one sample."""
        ...


class Runnable(Protocol):
    """What answers feeds."""

    def run(self, feeds: Any) -> Outputs:
        """The outputs by name."""
        ...


@dataclass
class Count:
    """How many samples were looked at, and how many the reference does not take, and why."""

    samples: int = 0
    skipped: int = 0
    failure: str = ""

    def left_out(self, reference: str) -> str:
        """A sentence for the samples that ``reference`` does not take, empty when it takes all of them.

        Raises ModelError when it takes none.
        """
        if not self.skipped:
            return ""
        if not self.samples:
            raise ModelError(f"{reference} runs on none of the samples: {self.failure}")
        return (
            f"{self.skipped} of {self.skipped + self.samples} samples were left out, because {reference} "
            f"does not run on them: {self.failure}"
        )


def look(
    samples: Iterable[Any],
    candidate: Answer,
    reference: Answer | None,
    looks: Sequence[Looks],
    *,
    truth: Callable[[Any], Any] = lambda sample: sample.labels,
    until: Callable[[], bool] = lambda: False,
    at_once: int = 1,
) -> Count:
    """Let ``looks`` see what a model, and a reference, answer to each sample; nothing is kept but their sums.

    A sample that the reference fails on judges nothing: it is counted in ``skipped``. The loop ends early
    when ``until`` says so. ``at_once`` samples are answered at a time, on threads of their own.
    """

    def answers(sample: Any) -> tuple[Outputs, Outputs | None] | ModelError:
        try:
            others = None if reference is None else reference(sample)
        except ModelError as error:
            return error
        return candidate(sample), others

    count = Count()
    for sample, made in in_order(answers, samples, at_once):
        if isinstance(made, ModelError):
            count.skipped += 1
            count.failure = count.failure or str(made)
            continue
        (outputs, others), right = made, truth(sample)
        count.samples += 1
        for each in looks:
            each.update(outputs, others, sample, right)
        if until():
            break
    return count


def runs(model: Runnable, without: Collection[str] = ()) -> Answer:
    """What a model answers, apart from the outputs named in ``without``."""

    def answer(sample: Any) -> Outputs:
        outputs = model.run(sample.feeds)
        return {name: value for name, value in outputs.items() if name not in without}

    return answer


class Remembered:
    """What a model answers to samples of one source: it runs once for all who compare with it.

    As long as the answers take little memory: those of the first samples are kept, the others run again.
    """

    def __init__(self, model: Runnable) -> None:
        self._model = model
        self._kept: dict[tuple[int, ...], Outputs] = {}  # by the rows of samples
        self._bytes = 0
        self._lock = Lock()  # several samples may be answered at a time

    def __call__(self, sample: Any) -> Outputs:
        """The outputs for a sample."""
        kept = self._kept.get(sample.rows)
        if kept is not None:
            return kept
        outputs = self._model.run(sample.feeds)
        with self._lock:
            self._bytes += sum(value.nbytes for value in outputs.values() if isinstance(value, np.ndarray))
            if sample.rows and self._bytes <= KEPT:
                self._kept[sample.rows] = outputs
        return outputs


@dataclass(frozen=True)
class Verdict:
    """How a model did on samples, and how far its outputs are from those of the reference."""

    metric: Metric
    outcome: Outcome
    differences: Mapping[str, Difference]
    count: Count
    has_reference: bool

    @property
    def drop(self) -> float | None:
        """Points lost; infinite where answers are no numbers, None where they cannot be judged."""
        return self.metric.drop(self.outcome)

    @property
    def agreement(self) -> dict[str, Any]:
        """The agreement of the metric, and with a reference the SQNR of each output in dB."""
        snr = {"snr_db": decibels(self.differences)} if self.has_reference else {}
        return {**self.outcome.agreement, **snr}


class Judge:
    """Judges a model, and a reference, on samples by a metric and by the distance of their outputs.

    Without a ``metric`` a model with one output of class scores is a classifier, and any other is compared
    output by output. ``truth`` finds what is right for a sample where labels do not come with it. Labels are
    checked against the classes of a classifier, DataError when one is none of them, unless ``labelled`` is
    False: then there is no truth.
    """

    def __init__(
        self,
        samples: Samples,
        metric: Metric | None = None,
        truth: Truth | None = None,
        *,
        labelled: bool = True,
    ) -> None:
        self._samples = samples
        self._labelled = labelled and samples.labelled
        self.metric = metric or Classification()
        self._is_chosen = metric is not None
        self._is_settled = False
        self._find: Callable[[Any], Any] = self._labels if truth is None else truth.of
        self._outputs = self.metric if isinstance(self.metric, Generic) else Generic()

    def judge(
        self,
        candidate: Runnable | Answer,
        reference: Runnable | Answer | None = None,
        *,
        watched: Iterable[Any] | None = None,
        without: Collection[str] = (),
        seed: int | None = 0,
        at_once: int = 1,
        also: Sequence[Looks] = (),
    ) -> Verdict:
        """Run the model, and the reference, on the samples; used once.

        ``watched`` are the samples to run on, such as those of a progress bar; outputs named in ``without``
        are left out. ``seed`` is for the resampling of intervals, None leaves them out. ``at_once`` samples
        are answered at a time where models are sessions. ``also`` see the same answers.
        """
        count = look(
            self._samples if watched is None else watched,
            candidate if callable(candidate) else runs(candidate, without),
            reference if reference is None or callable(reference) else runs(reference, without),
            [self, *also],
            truth=self._find,
            at_once=at_once,
        )
        outcome = self.metric.outcome(seed)
        return Verdict(self.metric, outcome, self._outputs.differences, count, reference is not None)

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Any, truth: Any) -> None:
        """Take the answers to one sample."""
        if not self._is_settled:
            self._settle(outputs)
        if self._outputs is not self.metric:
            self._outputs.update(outputs, reference, sample, truth)
        self.metric.update(outputs, reference, sample, truth)

    def _settle(self, outputs: Outputs) -> None:
        """Check the labels of a classifier; without a metric, compare what is none output by output."""
        self._is_settled = True
        if not isinstance(self.metric, Classification):
            return
        name = classifier_output(outputs)
        if name is None:
            if not self._is_chosen and not self._labelled:
                self.metric = self._outputs
        elif self._labelled:
            self._samples.check_labels(outputs[name].shape[1])

    def _labels(self, sample: Any) -> Any:
        return sample.labels if self._labelled and self.metric.takes_class_labels else None
