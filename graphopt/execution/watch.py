"""How far tasks on workers are, in words: workers, shards done, samples a second, time left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

from graphopt.execution.executor import Workers
from graphopt.util.progress import Progress

T = TypeVar("T")


class _Pace:
    """A description that changes while shards come in."""

    def __init__(self, what: str, workers: Workers, shards: int, samples: int) -> None:
        self._what, self._workers = what, workers
        self._shards, self._samples = shards, samples
        self._start = monotonic()
        self.shards = self.samples = 0

    def __str__(self) -> str:
        text = f"{self._what} on {self._workers.count} workers, {self.shards} of {self._shards} shards"
        rate = self.samples / max(monotonic() - self._start, 1e-9)
        if not self.samples:
            return text
        left = (self._samples - self.samples) / rate
        return (
            f"{text}, {rate:.0f} samples/s, {left / 60:.0f} min left"
            if left > 90
            else (f"{text}, {rate:.0f} samples/s, {left:.0f} s left")
        )


def watched(
    progress: Progress,
    what: str,
    workers: Workers,
    results: Iterable[tuple[int, T]],
    sizes: list[int],
) -> Iterator[tuple[int, T]]:
    """Yield ``results`` while ``progress`` shows how many samples they stand for: ``sizes`` by number."""
    pace = _Pace(what, workers, len(sizes), sum(sizes))
    ready: list[tuple[int, T]] = []

    def ticks() -> Iterator[None]:
        for number, result in results:
            ready.append((number, result))
            pace.shards += 1
            pace.samples += sizes[number]
            yield from (None for _ in range(sizes[number]))

    for _ in progress(pace, ticks(), sum(sizes)):  # type: ignore[arg-type]
        if ready:
            yield ready.pop()
