"""How far a pass may go by itself: what it costs on samples that nothing else was fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphopt.data import is_float
from graphopt.pipeline.search.expected_disagreement import ExpectedDisagreement
from graphopt.pipeline.verify.judged import Judged
from graphopt.runtime import Session, classifier_output

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.data import Samples
    from graphopt.data.samples import Batch
    from graphopt.pipeline.contract.context import Context

Open: TypeAlias = "Callable[[ir.Model, Sequence[str] | None], Session]"

# noise: samples at most; the standard error of a rate is then 0.5 / sqrt(512) = 2.2 points at worst
HELD_OUT = 512
FITTED = 256  # time: samples that a trial is fitted to at most; the result is fitted to all
SAME_ANSWER = 0.9  # share of samples with the same class above which classes tell nothing
BATCH = 1  # fixed: the one size that every model takes
KEPT = 64 * 2**20  # memory: bytes of the original's answers kept for the next model that is judged


class Degradation:
    """Measures how much worse the model gets, in points, on a held-out half of the calibration samples.

    With labels it is the loss of top-1 accuracy; for a classifier without labels the share of samples that
    get another class; both on the safe side where samples are few (see ``ExpectedDisagreement``).  For any
    other model, and for a classifier that gives nearly all samples the same class and so would hide any harm,
    it is the noise power of the worst output in percent of the power with which that output varies from
    sample to sample.
    """

    def __init__(self, model: ir.Model, ctx: Context, open_model: Open | None = None) -> None:
        """``open_model`` opens what is judged and takes names of outputs; by default like the original."""
        self._ctx = ctx
        self._open: Open = open_model or ctx.session
        self._original = ctx.session(model)
        self._judged = Judged(model)
        self._samples = held_out(ctx.calibration)
        self._kept: list[dict[str, np.ndarray]] | None = None
        first = self._original.run(next(iter(self._samples)).feeds)
        self._scores = classifier_output(first)
        self._labelled = self._samples.labelled and self._scores is not None
        if self._labelled:
            ctx.used_labels()
        elif self._scores is not None and self._hardly_varies(self._scores):
            self._scores = None
        self._floats = ctx.session(model, self._judged.names) if self._scores is None else None

    @property
    def measure(self) -> str:
        """What is measured, in words."""
        return f"{self.kind} on {len(self._samples)} held-out samples"

    @property
    def kind(self) -> str:
        """What is measured, in few words."""
        if self._labelled:
            return "top-1 loss"
        return "disagreement with the original" if self._scores else "noise in percent of the variation"

    def of(self, model: ir.Model) -> float:
        """Return the harm done to ``model``, in points; infinite where its answers are no numbers."""
        if self._scores is None:
            return self._noise(model)
        candidate = self._open(model, None)
        flips = ExpectedDisagreement()
        for batch, answers in self._answered(self._original):
            old, new = answers[self._scores], candidate.run(batch.feeds)[self._scores]
            if (np.isfinite(old) & ~np.isfinite(new)).any():
                return math.inf
            flips.update(old, new, batch.labels if self._labelled else None)
        return 100.0 * (flips.loss if self._labelled else flips.disagreement)

    def _hardly_varies(self, scores: str) -> bool:
        """Whether nearly all samples get the same class."""
        answers = Counter(
            int(answer)
            for batch in self._samples.batches(BATCH)
            for answer in self._original.run(batch.feeds)[scores].argmax(axis=1).ravel()  # of [N, K, 1, ...]
        )
        return max(answers.values()) > SAME_ANSWER * answers.total()

    def _answered(self, original: Session) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
        """Yield the held-out samples and what the original makes of them: it runs once for all models."""
        batches = self._ctx.progress("measuring harm", self._samples.batches(BATCH))
        if self._kept is not None:
            yield from zip(batches, self._kept, strict=True)
            return
        kept, size = [], 0
        for batch in batches:
            answers = original.run(batch.feeds)
            size += sum(value.nbytes for value in answers.values() if isinstance(value, np.ndarray))
            if size <= KEPT:
                kept.append(answers)
            yield batch, answers
        self._kept = kept if size <= KEPT else None

    def _noise(self, model: ir.Model) -> float:
        """The noise of the float outputs, or of the float tensors before what chooses."""
        if self._floats is None or not self._judged.names:
            return 100.0
        names = self._judged.where(model)
        candidate = self._open(model, list(dict.fromkeys(names)))
        signal: dict[str, Variation] = {}
        noise: dict[str, float] = {}
        for batch, old in self._answered(self._floats):
            new = candidate.run(batch.feeds)
            for (name, value), there in zip(old.items(), names, strict=True):
                if not isinstance(value, np.ndarray) or not is_float(value.dtype):
                    continue
                if value.shape != new[there].shape:
                    return 100.0  # data-dependent sizes: the result is a different one
                counts = np.isfinite(value)
                was, error = value.astype(np.float64), new[there].astype(np.float64) - value
                if not np.isfinite(error[counts]).all():
                    return math.inf
                signal.setdefault(name, Variation()).add(np.where(counts, was, 0.0))
                noise[name] = noise.get(name, 0.0) + float(np.square(error[counts]).sum())
        return max((100.0 * noise[name] / (signal[name].power or 1.0) for name in noise), default=100.0)


class Variation:
    """Power of an output around its mean over the samples; around zero where its shape changes."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._sum: np.ndarray | None = None
        self._count = 0
        self._same_shape = True

    def add(self, value: np.ndarray) -> None:
        """Take one sample's output, float64."""
        self._squares += float(np.square(value).sum())
        self._count += 1
        if self._sum is None:
            self._sum = np.zeros_like(value)
        self._same_shape = self._same_shape and self._sum.shape == value.shape
        if self._same_shape:
            self._sum += value

    @property
    def power(self) -> float:
        """Sum of squares over all samples and elements."""
        if self._sum is None or not self._same_shape or self._count < 2:
            return self._squares
        return max(self._squares - float(np.square(self._sum).sum()) / self._count, 0.0)


def held_out(samples: Samples) -> Samples:
    """Return the second half of the samples, at most ``HELD_OUT``; all of them when there is only one."""
    return samples if len(samples) < 2 else samples.skip(len(samples) // 2).take(HELD_OUT)


def trial_samples(samples: Samples) -> Samples:
    """Return samples to fit to, none of which is held out while there are two."""
    return samples if len(samples) < 2 else samples.take(min(len(samples) // 2, FITTED))


def bisect_within_budget(
    model: ir.Model,
    compress: Callable[[int], None],
    harm: Degradation,
    limit: float,
    steps: int,
    close: float = 1.0,
    note: Callable[[int, float], None] | None = None,
) -> int:
    """Return the last of the steps 0..``steps`` - 1 whose harm is within ``limit``, by bisection.

    Where trials are dear, a step whose harm reaches the fraction ``close`` of the limit is good enough: once
    the harm is known on both sides of the limit, the next trial lies where a straight line comes close to it.
    ``compress`` compresses ``model`` up to a step; after each trial the model is put back, with new nodes.
    ``note`` is told each step that was tried, and its harm (see ``Tried``).
    """
    good, bad = 0, steps
    known = {0: 0.0}
    while bad - good > 1:
        middle = _between(good, bad, known, limit, close)
        before = model.snapshot()
        try:
            compress(middle)
            harmed = harm.of(model)
            known[middle] = math.inf if math.isnan(harmed) else harmed
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
