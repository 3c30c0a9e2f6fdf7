"""Run a model on several samples at a time, and hand on what it answers in the order of the samples.

One sample on each thread keeps processors busy without making them wait for each other inside of every
operator, and what is done with an answer goes on beside the runs of the next samples. What comes out does not
depend on the threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
R = TypeVar("R")

WORTH = 2e-3  # time: seconds; a shorter run is over before a thread has taken it up
HELD_BYTES = 512 * 2**20  # memory: of answers that wait for their turn


def in_order(
    answer: Callable[[T], R], items: Iterable[T], threads: int, *, clock: Callable[[], float] = perf_counter
) -> Iterator[tuple[T, R]]:
    """Yield each item with its answer, in order; up to ``threads`` are computed at a time.

    ``answer`` runs on other threads as soon as it took long once, not counting its first run. What it raises
    is raised in the place of its answer. Items are taken a few in advance; when the iteration is left early,
    what was begun is waited for.
    """
    remaining = iter(items)
    if threads <= 1:
        yield from ((item, answer(item)) for item in remaining)
        return
    for number, item in enumerate(remaining):
        start = clock()
        made = answer(item)
        is_long = number > 0 and clock() - start > WORTH
        size = _bytes(made) if is_long else 0
        yield item, made
        del made
        if is_long:
            yield from _ahead(answer, remaining, min(threads, max(1, HELD_BYTES // max(size, 1))))


def _ahead(answer: Callable[[T], R], items: Iterator[T], threads: int) -> Iterator[tuple[T, R]]:
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(answer, item)))
                if len(waiting) > threads:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _next(waiting: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, future = waiting.popleft()
    return item, future.result()


def _bytes(value: Any) -> int:
    """Bytes of all arrays in an answer."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, (tuple, list)) else 0
