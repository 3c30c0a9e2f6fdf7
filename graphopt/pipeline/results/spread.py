"""Let workers answer samples, each its own part, and judge the answers here in the order of the samples."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import ir
from graphopt.errors import ModelError
from graphopt.execution import LEAF, Shared, Workers
from graphopt.metrics.base import Outputs
from graphopt.runtime import Session, SessionOptions

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples


@dataclass(frozen=True)
class Answered:
    """A sample without its pixels, with what the model and the reference answer to it.

    ``failure`` says why the reference does not take it.
    """

    sample: Sample
    shapes: dict[str, tuple[str, tuple[int, ...]]]  # of its feeds: dtype and shape
    outputs: Outputs
    reference: Outputs | None = None
    failure: str = ""


class SpreadAnswers:
    """What workers answer, as ``Judge.judge`` takes it: the samples to look at, and two answers.

    Outputs travel, metrics stay here: so they see every sample once, in order, as in one process.
    """

    def __init__(
        self,
        workers: Workers,
        samples: Samples,
        model: ir.Model,
        reference: ir.Model | None,
        options: SessionOptions,
    ) -> None:
        if workers.is_local:  # they share the threads of this machine
            options = replace(options, threads=max(1, options.threads // workers.count))
        shared = (
            workers.share(model, ir.Model.to_bytes, ir.from_bytes),
            None if reference is None else workers.share(reference, ir.Model.to_bytes, ir.from_bytes),
            workers.share(samples, pickle.dumps, pickle.loads),
        )
        starts = range(0, len(samples), LEAF)
        calls = [(*shared, options, start, min(start + LEAF, len(samples))) for start in starts]
        self._parts = workers.map(answer_part, calls)
        self._now: Answered | None = None

    def samples(self) -> Iterator[Sample]:
        """The samples in order; the answers are those to the latest one."""
        waiting: dict[int, list[Answered]] = {}
        due = 0
        for number, part in self._parts:
            waiting[number] = part
            while due in waiting:
                for self._now in waiting.pop(due):
                    feeds = {
                        name: np.broadcast_to(np.zeros((), dtype), shape)
                        for name, (dtype, shape) in self._now.shapes.items()
                    }
                    yield replace(self._now.sample, feeds=feeds)
                due += 1

    def candidate(self, sample: Any) -> Outputs:
        """What the model answers."""
        assert self._now is not None
        return self._now.outputs

    def reference(self, sample: Any) -> Outputs:
        """What the reference answers; ModelError when it does not take the sample."""
        assert self._now is not None
        if self._now.reference is None:
            raise ModelError(self._now.failure)
        return self._now.reference


def answer_part(
    model: Shared[ir.Model],
    reference: Shared[ir.Model] | None,
    samples: Shared[Samples],
    options: SessionOptions,
    start: int,
    stop: int,
) -> list[Answered]:
    """The answers to the samples ``start`` to ``stop``; the work of one task."""

    def opened(model: ir.Model) -> Session:
        return Session(model, options)

    own = model.derive(options, opened)
    other = None if reference is None else reference.derive(options, opened)
    return [_answer(sample, own, other) for sample in samples.get().part(start, stop)]


def _answer(sample: Sample, own: Session, other: Session | None) -> Answered:
    shapes = {name: (feed.dtype.str, feed.shape) for name, feed in sample.feeds.items()}
    bare = replace(sample, feeds={})
    if other is None:
        return Answered(bare, shapes, own.run(sample.feeds))
    try:
        others = other.run(sample.feeds)
    except ModelError as error:
        return Answered(bare, shapes, {}, None, str(error))
    return Answered(bare, shapes, own.run(sample.feeds), others)
