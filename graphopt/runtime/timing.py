"""Measure how long a model takes, alone or paired with another in interleaved runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from graphopt.runtime.session import Feeds

WARM_UP = 3  # time: runs of each model before timing: allocation, page faults, clock frequency
FEWEST_ROUNDS = 5  # time: runs of each model that a median needs
MOST_ROUNDS = 500  # time: runs of each model
PRECISION = 0.005  # time: stop early once the median is known to half a percent
# noise: of another's time: what is faster has to be below, beyond what two measurements differ by
FASTER = 0.98


class Runnable(Protocol):
    """A session, or whatever else runs on named arrays."""

    def run(self, feeds: Feeds) -> Any: ...


@dataclass(frozen=True)
class Latency:
    """Time of one model in milliseconds; `spread` is the relative uncertainty of the median."""

    median_ms: float
    minimum_ms: float
    rounds: int
    spread: float


@dataclass(frozen=True)
class PairedLatency:
    """Times of two models measured in turn; `ratio` is the median of b / a over the pairs.

    Below 1 the second model is faster. Pairing cancels what disturbs both alike, such as clock changes.
    """

    a: Latency
    b: Latency
    ratio: float
    spread: float

    def to_json(self) -> dict[str, float]:
        """The ratio with its uncertainty, and of how many pairs, for reports."""
        return {"ratio": self.ratio, "spread": self.spread, "pairs": self.a.rounds}

    @property
    def speedup(self) -> float:
        """How many times faster the second model is."""
        return 1.0 / self.ratio


def latency(session: Runnable, feeds: Feeds, *, seconds: float = 2.0) -> Latency:
    """Time one model on one set of inputs for about `seconds`, warm-up included."""
    deadline = perf_counter() + seconds
    for _ in range(WARM_UP):
        session.run(feeds)
    times: list[float] = []

    def one_round() -> float:
        times.append(_timed(session, feeds))
        return times[-1]

    _rounds(one_round, deadline)
    return _summary(times)


def paired_latency(
    a: Runnable, b: Runnable, feeds: Feeds, feeds_b: Feeds | None = None, *, seconds: float = 4.0
) -> PairedLatency:
    """Time two models in interleaved pairs for about `seconds`, warm-up included.

    The order inside a pair alternates (a b, b a, ...). `feeds_b` is for a second model with other inputs.
    """
    feeds_b = feeds if feeds_b is None else feeds_b
    deadline = perf_counter() + seconds
    for _ in range(WARM_UP):
        a.run(feeds)
        b.run(feeds_b)
    times_a: list[float] = []
    times_b: list[float] = []

    def one_pair() -> float:
        if len(times_a) % 2:
            times_b.append(_timed(b, feeds_b))
            times_a.append(_timed(a, feeds))
        else:
            times_a.append(_timed(a, feeds))
            times_b.append(_timed(b, feeds_b))
        return times_b[-1] / times_a[-1]

    ratios = _rounds(one_pair, deadline)
    return PairedLatency(_summary(times_a), _summary(times_b), statistics.median(ratios), _spread(ratios))


def _rounds(measure: Callable[[], float], deadline: float) -> list[float]:
    """Repeat a measurement until its median is precise enough or the time is up."""
    values: list[float] = []
    while len(values) < MOST_ROUNDS:
        values.append(measure())
        if len(values) < FEWEST_ROUNDS:
            continue
        if perf_counter() > deadline or (len(values) >= 4 * FEWEST_ROUNDS and _spread(values) < PRECISION):
            break
    return values


def _timed(session: Runnable, feeds: Feeds) -> float:
    start = perf_counter()
    session.run(feeds)
    return perf_counter() - start


def _summary(times: Sequence[float]) -> Latency:
    return Latency(1e3 * statistics.median(times), 1e3 * min(times), len(times), _spread(times))


def _spread(values: Sequence[float]) -> float:
    """Half the 95 % interval of the median over it: 1.57 IQR / sqrt(n) (McGill, Tukey, Larsen 1978)."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return 1.57 * (high - low) / math.sqrt(len(values)) / middle
