"""The ranges of the tensors to be stored, from the calibration samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphopt import stats
from graphopt.ir import Model, Tensor

from .parameters import SMALLEST_SPAN

if TYPE_CHECKING:
    from graphopt.pipeline import Context

POOLS = ("GlobalAveragePool", "AveragePool")
FURTHEST = 4096.0  # between the spans of a pool's input and output; the kernels give up at 256 * positions


def measure_ranges(model: Model, tensors: Iterable[str], ctx: Context) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each tensor over all calibration samples.

    Samples run one at a time, so memory does not grow with their number.  A tensor without elements has the
    range (0, 0).  Raises DataError without samples or for NaN and infinite values.
    """
    requests = {name: [stats.Range] for name in tensors}
    results = stats.collect(
        model,
        requests,
        ctx.calibration,
        threads=ctx.threads,
        progress=ctx.progress,
        provider=ctx.settings.provider,
        custom_ops=ctx.settings.custom_ops,
    )
    return {name: _interval(found) for name, (found,) in results.items()}


def widen_pools(ranges: dict[str, tuple[float, float]], tensors: Iterable[Tensor]) -> None:
    """Give an average pool the range of its input where its own is a vanishing part of that.

    onnxruntime's integer pools refuse to run when the two scales are too far apart; a mean that small is
    zero beside what it is the mean of.
    """
    for tensor in tensors:
        pool = tensor.producer
        if pool is None or pool.op not in POOLS or pool.inputs[0].name not in ranges:
            continue
        whole, own = ranges[pool.inputs[0].name], _span(ranges[tensor.name])
        if own < SMALLEST_SPAN or own * FURTHEST < _span(whole):
            ranges[tensor.name] = whole


def _span(interval: tuple[float, float]) -> float:
    """Width of an interval that is made to contain zero."""
    return max(interval[1], 0.0) - min(interval[0], 0.0)


def _interval(found: stats.Range) -> tuple[float, float]:
    return (found.minimum, found.maximum) if found.count else (0.0, 0.0)
