"""Collect a request over a part of the samples: what one worker does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.calibration.fused_extremes import PooledSession
from graphopt.calibration.request import Collected, Request
from graphopt.errors import DataError, ModelError
from graphopt.execution import LEAF, Shared
from graphopt.runtime.in_order import in_order
from graphopt.runtime.session import Session, SessionOptions
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model


@dataclass(frozen=True)
class Pass:
    """One pass over samples for a group of tensors; ``pooled`` are those read as one number a channel."""

    request: Request
    pooled: tuple[str, ...]
    batch: int
    options: SessionOptions


def collect_shard(model: Shared[Model], samples: Shared[Samples], one: Pass, first: int, count: int) -> bytes:
    """The statistics over a node of ``count`` leaves of the samples, from leaf ``first``, as bytes."""
    return collect_part(model, samples, one, first, count).to_bytes()


def collect_part(
    model: Shared[Model],
    samples: Shared[Samples],
    one: Pass,
    first: int,
    count: int,
    progress: Progress = silent,
) -> Collected:
    """The same as an object; ``progress`` wraps the batches."""
    whole = samples.get()
    runner = model.derive(one, lambda model: _Runner(model, one, whole))
    used = whole
    if first or count * LEAF < len(whole):
        used = whole.part(first * LEAF, (first + count) * LEAF)
    return runner.reduce(used, progress)


def content_digest(samples: Shared[Samples], start: int, stop: int) -> str:
    """A hash of the raw content of some samples, without preprocessing them."""
    digest = hashlib.blake2b(digest_size=32)
    for key in samples.get().part(start, stop).content_keys():
        digest.update(key.encode())
    return digest.hexdigest()


class _Runner:
    """The sessions that a pass needs, opened once."""

    def __init__(self, model: Model, one: Pass, samples: Samples) -> None:
        self._request = one.request
        inputs = {port.name for port in model.signature.inputs}
        computed = [name for name in one.request.names if name not in inputs]
        self._session: Session | PooledSession | None = None
        if one.pooled:
            self._session = PooledSession(model, computed, one.pooled, one.options)
        elif computed:
            self._session = Session(model, one.options, outputs=computed)
        self._at_once = one.options.samples_at_once if computed else 1
        self._batch = one.batch if one.batch > 1 and self._can_stack(samples, one.batch) else 1

    def reduce(self, samples: Samples, progress: Progress) -> Collected:
        """The sum over the leaves of samples, added up as ``graphopt.execution.reduction`` says."""
        total, done = _Tree(), 0
        leaf = self._request.start()
        batches = progress("calibrating", self._batches(samples), self._count(len(samples)))
        answers = in_order(lambda stacked: self._values(stacked.feeds), batches, self._at_once)
        for stacked, values in answers:
            self._update(leaf, values, stacked.samples)
            del values  # before the next ones are waited for
            done += stacked.samples
            if done % LEAF == 0 or done == len(samples):
                total.add(leaf)
                leaf = self._request.start()
        return total.sum(leaf)

    def _batches(self, samples: Samples) -> Iterable[Any]:
        return samples.batches(self._batch, LEAF) if len(samples) > LEAF else samples.batches(self._batch)

    def _count(self, samples: int) -> int:
        """How many batches that are at least."""
        whole, rest = divmod(samples, LEAF)
        return whole * -(-LEAF // self._batch) + -(-rest // self._batch)

    def _update(self, leaf: Collected, values: Mapping[str, np.ndarray], count: int) -> None:
        for name in self._request.names:
            for sample in _split(values[name], count):
                leaf.update(name, sample)

    def _values(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        computed = self._session.run(feeds) if self._session is not None else {}
        return {**feeds, **computed}

    def _can_stack(self, samples: Samples, batch: int) -> bool:
        """Whether the model runs on stacked samples and every wanted tensor keeps one row for each."""
        first = next(iter(samples.batches(batch)))
        try:
            values = self._values(first.feeds)
        except (ModelError, DataError):
            return False  # its batch size is fixed; should it fail on single samples too, that run says so
        wanted = self._request.names
        return all(values[n].ndim > 0 and values[n].shape[0] == first.samples for n in wanted)


class _Tree:
    """Adds up leaves that come in order: neighbours of equal size as soon as both are there."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Collected]] = []  # (leaves, sum), from left to right

    def add(self, leaf: Collected) -> None:
        size = 1
        while self._parts and self._parts[-1][0] == size:
            _, before = self._parts.pop()
            leaf, size = before.merge(leaf), 2 * size
        self._parts.append((size, leaf))

    def sum(self, nothing: Collected) -> Collected:
        if not self._parts:
            return nothing
        _, total = self._parts.pop()
        while self._parts:
            _, before = self._parts.pop()
            total = before.merge(total)
        return total


def _split(values: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The tensor of each sample, with its leading 1."""
    if count == 1:
        yield values
        return
    for index in range(count):
        yield values[index : index + 1]
