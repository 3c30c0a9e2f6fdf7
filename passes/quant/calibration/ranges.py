"""The ranges of the tensors to be stored, from the calibration samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from graphopt import calibration
from graphopt.ir import Model, Tensor
from graphopt.passes.quant.calibration.thresholds import entropy_range, mse_range, percentile_range

from .parameters import SMALLEST_SPAN, Bounds

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

POOLS = ("GlobalAveragePool", "AveragePool")
FURTHEST = 4096.0  # fixed: between the spans of a pool's input and output; kernels give up at 256 * positions


CALIBRATORS = ("minmax", "mean", "moving", "percentile", "entropy", "mse")
NEWEST = 0.2  # measured (constants): weight of the latest sample in a moving average


@dataclass(frozen=True)
class Calibrator:
    """How the range of a tensor follows from its values.

    ``minmax`` holds every value; ``mean`` takes the mean of the extremes of single samples and ``moving``
    their moving average; ``percentile`` holds so many percent of the values; ``entropy`` and ``mse`` lose
    the least information and the least squares when stored with ``levels`` steps.
    """

    method: str = "minmax"
    percentile: float = 99.999
    levels: int = 255
    symmetric: bool = False

    @property
    def label(self) -> str:
        """The method with all that its ranges depend on, for files."""
        if self.method == "percentile":
            return f"percentile={self.percentile:g}"
        symmetric = ":symmetric" if self.symmetric and self.method == "mse" else ""
        wide = f":levels={self.levels}" if self.method in ("entropy", "mse") and self.levels != 255 else ""
        return f"{self.method}{wide}{symmetric}"

    def statistic(self, bounds: Bounds) -> calibration.StatisticSpec:
        """What has to be known of a tensor that never leaves ``bounds``."""
        if self.method in ("mean", "moving"):
            return calibration.StatisticSpec("sample-ranges")
        kind = "range" if self.method == "minmax" else "histogram"
        options = {"floor": 0.0} if bounds.low == 0.0 else {}
        return calibration.StatisticSpec.of(kind, **options)

    def interval(self, statistic: Any) -> tuple[float, float]:
        """The range, from what ``statistic`` found."""
        if self.method == "mean":
            return cast("calibration.SampleRanges", statistic).mean()
        if self.method == "moving":
            return cast("calibration.SampleRanges", statistic).moving_average(NEWEST)
        if self.method == "percentile":
            return percentile_range(statistic, self.percentile)
        if self.method == "entropy":
            return entropy_range(statistic, (self.levels + 1) // 2)
        if self.method == "mse":
            return mse_range(statistic, self.levels, symmetric=self.symmetric)
        return (statistic.minimum, statistic.maximum) if statistic.count else (0.0, 0.0)


MINMAX = Calibrator()


def measure_ranges(
    model: Model,
    tensors: Mapping[str, Bounds],
    ctx: Context,
    calibrator: Calibrator = MINMAX,
    samples: Samples | None = None,
) -> dict[str, tuple[float, float]]:
    """The range of each tensor over samples, by default those that calibrate; inputs hold every value.

    ``tensors`` says what the values of each can never leave.  Samples run one at a time, so memory does not
    grow with their number.  A tensor without elements has the range (0, 0).  Raises DataError without
    samples or for NaN and infinite values.
    """
    inputs = {port.name for port in model.signature.inputs}
    how = {name: MINMAX if name in inputs else calibrator for name in tensors}
    requests = {name: [how[name].statistic(bounds)] for name, bounds in tensors.items()}
    results = ctx.collect(model, requests, samples)
    return {name: how[name].interval(statistic) for name, (statistic,) in results.items()}


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
