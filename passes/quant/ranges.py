"""The ranges of the tensors to be stored, from the calibration samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphopt import stats
from graphopt.ir import Model

if TYPE_CHECKING:
    from graphopt.pipeline import Context


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


def _interval(found: stats.Range) -> tuple[float, float]:
    return (found.minimum, found.maximum) if found.count else (0.0, 0.0)
