"""How far a pass may go by itself: what it costs on samples that nothing else was fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphopt.errors import ModelError, UsageError
from graphopt.metrics import Classification, Generic, Judge
from graphopt.metrics.judge import Answer, Count, Looks, Remembered, look, runs
from graphopt.pipeline.search.expected_disagreement import ExpectedDisagreement
from graphopt.pipeline.search.noise_share import UNKNOWN, NoiseShare
from graphopt.pipeline.verify.judged import Judged
from graphopt.runtime import Session, classifier_output

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.data import Samples
    from graphopt.metrics.base import Outputs
    from graphopt.pipeline.contract.context import Context

Open: TypeAlias = "Callable[[ir.Model, Sequence[str] | None], Session]"

# noise: samples at most; the standard error of a rate is then 0.5 / sqrt(512) = 2.2 points at worst
HELD_OUT = 512
FITTED = 256  # time: samples that a trial is fitted to at most; the result is fitted to all
CONFIDENT = 1.2816  # theory: standard errors to the bound that is passed in one case of ten
EACH = 1.6449  # theory: the same in one of twenty, for each of two bounds of which the lower counts
CONFIDENCE_LEFT = 0.1  # fixed: the share of cases in which a promise may fail
SAME_ANSWER = 0.9  # noise: share of samples with the same class above which classes tell nothing
TRIED = 2  # time: samples on which it is tried whether a metric can judge the model


class Degradation:
    """Measures how much worse the model gets, in points, on a held-out half of the calibration samples.

    By the metric that the run was asked to judge by, where the calibration samples allow it. Otherwise with
    labels it is the loss of top-1 accuracy; for a classifier without labels the share of samples that get
    another class; both on the safe side where samples are few (see ``ExpectedDisagreement``).  For any other
    model, and for a classifier that gives nearly all samples the same class and so would hide any
    degradation, it is the noise power of the worst output in percent of the power with which that output
    varies from sample to sample.
    """

    def __init__(
        self,
        model: ir.Model,
        ctx: Context,
        open_model: Open | None = None,
        samples: Samples | None = None,
    ) -> None:
        """``open_model`` opens what is judged and takes names of outputs; by default like the original.

        ``samples`` judge; by default the held-out half of the calibration samples.
        """
        self._ctx = ctx
        self._open: Open = open_model or ctx.session
        original = ctx.session(model)
        self._judged = Judged(model)
        self._samples = held_out(ctx.calibration) if samples is None else samples
        self._answers = Remembered(original)
        first = original.run(next(iter(self._samples)).feeds)
        self._metric = self._chosen_metric(original)
        self._scores = None if self._metric else classifier_output(first)
        self._labelled = self._samples.labelled and self._scores is not None
        if self._labelled:
            ctx.used_labels()
        elif self._scores is not None and self._hardly_varies(self._scores):
            self._scores = None
        if not self._metric and self._scores is None:
            self._answers = Remembered(ctx.session(model, self._judged.names))

    @property
    def measure(self) -> str:
        """What is measured, in words."""
        return f"{self.kind} on {len(self._samples)} held-out samples"

    @property
    def kind(self) -> str:
        """What is measured, in few words."""
        if self._metric:
            return self._metric
        if self._labelled:
            return "top-1 loss"
        return "disagreement with the original" if self._scores else "noise in percent of the variation"

    def of(self, model: ir.Model) -> float:
        """Return how much worse ``model`` is, in points; infinite where its answers are no numbers."""
        if self._metric:
            return self._loss(model)
        return self._noise(model) if self._scores is None else self._disagreement(self._scores, model)

    def assess(self, model: ir.Model) -> Loss:
        """Return how much worse ``model`` is, with an upper bound and the noise of its outputs."""
        if self._metric:
            return self._metric_loss(model)
        if self._scores is None:
            return self._noise_loss(model)
        counts, share = _Scores(self._scores, self._labelled), NoiseShare([self._scores], [self._scores])
        candidate = runs(self._open(model, None))
        self._said(
            look(
                self._watched(),
                _scores_only(candidate, self._scores),
                _scores_only(self._answers, self._scores),
                [counts, share],
                until=lambda: counts.is_broken,
            )
        )
        if counts.is_broken:
            return Loss(math.inf, math.inf, math.inf)
        upper = counts.upper(EACH)
        # A single answer of few samples may have changed by a hair: margins tell more than its count does.
        return Loss(min(counts.seen, upper), upper, share.points / 100.0)

    def expected(self) -> Callable[[float], float]:
        """Return what loss in points to expect of noise, before anything was tried.

        Noise is given as a share of the variance of what is judged by.  For a classifier it follows from the
        margins of the original's answers; elsewhere points are taken for the square root of the noise, or
        for its percentage where that is what is judged by.
        """
        if self._metric:
            return lambda noise: 100.0 * math.sqrt(max(noise, 0.0))
        if self._scores is None:
            return lambda noise: 100.0 * noise
        counts, share = ExpectedDisagreement(), NoiseShare([self._scores], [self._scores])
        for sample in self._samples:
            scores = self._answers(sample)[self._scores]
            counts.update(scores, scores)
            share.update({self._scores: scores}, {self._scores: scores}, sample, None)
        return lambda noise: 100.0 * counts.at_noise(noise, share.spread)

    def _metric_loss(self, model: ir.Model) -> Loss:
        judge = Judge(self._samples, self._ctx.settings.judged_by.make())
        candidate = self._open(model, None)
        verdict = judge.judge(candidate, self._answers, watched=self._watched(), seed=self._ctx.seed)
        self._said(verdict.count)
        ratios = [ratio for ratio in verdict.agreement.get("snr_db", {}).values() if math.isfinite(ratio)]
        noise = max((10.0 ** (-ratio / 10.0) for ratio in ratios), default=0.0)
        if verdict.drop is None or math.isnan(verdict.drop):
            return Loss(math.inf, math.inf, noise)
        paired = verdict.outcome.paired.get(judge.metric.main)
        error = 0.0 if paired is None or paired.error is None else 100.0 * paired.error
        if not noise:
            return Loss(verdict.drop, verdict.drop, 0.0)
        # One sample may have lost as much as it can and not be among those that were drawn.
        unseen = 100.0 * (1.0 - CONFIDENCE_LEFT ** (1.0 / len(self._samples))) if not error else 0.0
        return Loss(verdict.drop, verdict.drop + max(CONFIDENT * error, unseen), noise)

    def _noise_loss(self, model: ir.Model) -> Loss:
        points = self._noise(model)
        # The power of noise varies from sample to sample about as much as a chi-square of one degree.
        return Loss(points, points * (1.0 + CONFIDENT * math.sqrt(2.0 / len(self._samples))), points / 100.0)

    @property
    def samples(self) -> int:
        """How many samples judge."""
        return len(self._samples)

    @property
    def needed(self) -> Callable[[float], int]:
        """How many samples it takes to promise a limit in points at all, by how the loss is measured."""
        if not self._metric:
            return lambda limit: 2
        return lambda limit: math.ceil(math.log(CONFIDENCE_LEFT) / math.log1p(-min(limit, 99.0) / 100.0))

    def _chosen_metric(self, original: Session) -> str:
        """How the run's own metric judges the samples, in words; empty where it does not."""
        metric = self._ctx.settings.judged_by.make()
        if metric is None or isinstance(metric, (Classification, Generic)):
            return ""
        few = self._samples.take(TRIED)
        try:
            verdict = Judge(few, metric).judge(original, original, seed=None)
        except (ModelError, UsageError) as error:
            self._ctx.warn(f"the search does not judge the calibration samples by the run's metric: {error}")
            return ""
        if metric.takes_class_labels and few.labelled:
            self._ctx.inputs.labels_used = True
        return (
            f"loss of {metric.main}" if verdict.outcome.metrics else f"{metric.main_agreement} that changed"
        )

    def _loss(self, model: ir.Model) -> float:
        """Points lost by the run's own metric, and one standard error more."""
        judge = Judge(self._samples, self._ctx.settings.judged_by.make())
        candidate = self._open(model, None)
        verdict = judge.judge(
            candidate,
            self._answers,
            watched=self._watched(),
            seed=self._ctx.seed,
            at_once=self._ctx.samples_at_once,
        )
        self._said(verdict.count)
        paired = verdict.outcome.paired.get(judge.metric.main)
        error = 0.0 if paired is None or paired.error is None else 100.0 * paired.error
        return UNKNOWN if verdict.drop is None else verdict.drop + error

    def _disagreement(self, scores: str, model: ir.Model) -> float:
        counts = _Scores(scores, self._labelled)
        candidate = runs(self._open(model, None))
        self._said(self._look(candidate, counts, lambda: counts.is_broken))
        return counts.points

    def _noise(self, model: ir.Model) -> float:
        """The noise of the float outputs, or of the float tensors before what chooses."""
        names = self._judged.where(model)
        share = NoiseShare(self._judged.names, names)
        if not names:
            return share.points
        candidate = runs(self._open(model, list(dict.fromkeys(names))))
        self._said(self._look(candidate, share, lambda: share.is_settled))
        return share.points

    def _hardly_varies(self, scores: str) -> bool:
        """Whether nearly all samples get the same class."""
        answers = Counter(
            int(answer)
            for sample in self._samples
            for answer in self._answers(sample)[scores].argmax(axis=1).ravel()  # of [N, K, 1, ...]
        )
        return max(answers.values()) > SAME_ANSWER * answers.total()

    def _look(self, candidate: Answer, looks: Looks, until: Callable[[], bool]) -> Count:
        at_once = self._ctx.samples_at_once
        return look(self._watched(), candidate, self._answers, [looks], until=until, at_once=at_once)

    def _said(self, count: Count) -> None:
        """Say which samples judge nothing; ModelError when none does."""
        if text := count.left_out("the original"):
            self._ctx.warn(text)

    def _watched(self) -> Iterable[Any]:
        return self._ctx.progress("measuring the degradation", self._samples, len(self._samples))


@dataclass(frozen=True)
class Loss:
    """Points lost as seen, their upper bound at 90 % confidence, and the noise as a share of the variance."""

    points: float
    upper: float
    noise: float


def _scores_only(answer: Callable[[Any], Outputs], name: str) -> Callable[[Any], Outputs]:
    """The one output that holds the scores."""
    return lambda sample: {name: answer(sample)[name]}


class _Scores:
    """Counts how often the class of the output ``name`` changes, or a right one is lost."""

    def __init__(self, name: str, labelled: bool) -> None:
        self._name, self._labelled = name, labelled
        self._expected = ExpectedDisagreement()
        self.is_broken = False  # whether scores became no numbers, or others in number

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Any, truth: Any) -> None:
        """Take the scores of both models for one sample."""
        old, new = (reference or {})[self._name], outputs[self._name]
        same = np.shape(old) == np.shape(new)
        self.is_broken |= not same or bool((np.isfinite(old) & ~np.isfinite(new)).any())
        if not self.is_broken:
            self._expected.update(old, new, np.asarray(truth) if self._labelled else None)

    @property
    def seen(self) -> float:
        """Points lost, by the answers that changed, or the shifts of margins where these say more."""
        return 100.0 * (self._expected.seen_loss if self._labelled else self._expected.disagreement)

    def upper(self, z: float) -> float:
        """The upper bound of the points lost, so many standard errors above."""
        bound = self._expected.upper_loss if self._labelled else self._expected.upper_disagreement
        return 100.0 * bound(z)

    @property
    def points(self) -> float:
        if self.is_broken:
            return math.inf
        return 100.0 * (self._expected.loss if self._labelled else self._expected.disagreement)


def held_out(samples: Samples) -> Samples:
    """Return the second half of the samples, at most ``HELD_OUT``; all of them when there is only one."""
    return samples if len(samples) < 2 else samples.skip(len(samples) // 2).take(HELD_OUT)


def trial_samples(samples: Samples) -> Samples:
    """Return samples to fit to, none of which is held out while there are two."""
    return samples if len(samples) < 2 else samples.take(min(len(samples) // 2, FITTED))


def bisect_within_budget(
    model: ir.Model,
    compress: Callable[[int], None],
    degradation: Degradation,
    limit: float,
    steps: int,
    close: float = 1.0,
    note: Callable[[int, float], None] | None = None,
) -> int:
    """Return the last of the steps 0..``steps`` - 1 whose degradation is within ``limit``, by bisection.

    Where trials are expensive, a step whose degradation reaches the fraction ``close`` of the limit is good
    enough: once the degradation is known on both sides of the limit, the next trial lies where a straight
    line comes close to it.
    ``compress`` compresses ``model`` up to a step; after each trial the model is put back, with new nodes.
    ``note`` is called with each step that was tried, and its degradation (see ``Tried``).
    """
    good, bad = 0, steps
    known = {0: 0.0}
    while bad - good > 1:
        middle = _between(good, bad, known, limit, close)
        before = model.snapshot()
        try:
            compress(middle)
            points = degradation.of(model)
            known[middle] = math.inf if math.isnan(points) else points
        finally:
            model.restore(before)
        if note is not None:
            note(middle, known[middle])
        if known[middle] > limit:
            bad = middle
            continue
        good = middle
        if close < 1.0 and 0.0 < close * limit <= known[good]:
            break
    return good


def _between(good: int, bad: int, known: dict[int, float], limit: float, close: float) -> int:
    """The middle, or where a line aims, at least an eighth of the way from both ends."""
    if close >= 1.0 or bad not in known:
        return (good + bad) // 2
    aim = (1.0 + close) / 2 * limit
    share = (aim - known[good]) / (known[bad] - known[good])
    margin = max(1, (bad - good) // 8)
    return min(max(good + int(share * (bad - good)), good + margin), bad - margin)
