"""Plots for the report: how well tensors are stored, what a budget tried, what rounding costs layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log10
from typing import TYPE_CHECKING

import numpy as np

from graphopt.calibration import Histogram
from graphopt.ir import Model, Node
from graphopt.passes.quant.calibration.thresholds import storing_error

from .calibration.parameters import Parameters
from .items import Item, TensorItem

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from .rounding.tuning import Tuned

SAMPLES = 8  # shown: that histograms are made of; more only cost time
MOST = 24  # shown: tensors


def show_storing(model: Model, items: Iterable[Item], ctx: Context) -> None:
    """Leave histograms of the tensors that lose most by being stored, with what can be stored of them.

    Most is the noise of storing relative to the variance of the values, in the float ``model``: it is large
    where values are cut off, and where the range is so wide that few of its steps are used.
    """
    stored = {_seen(item): item.parameters for item in items if isinstance(item, TensorItem)}
    requests = {name: [Histogram] for name in stored}
    statistics = ctx.collect(model, requests, ctx.calibration.take(SAMPLES), allow_nonfinite=True)
    noises = {name: storing_noise(histogram, stored[name]) for name, (histogram,) in statistics.items()}
    first = {noise: name for name, noise in reversed(noises.items()) if noise}  # a Flatten tells nothing new
    for noise, name in sorted(first.items(), reverse=True)[:MOST]:
        _show_histogram(name, statistics[name][0], stored[name], noise, ctx)


def _seen(item: TensorItem) -> str:
    """The tensor whose values are stored: storing does the work of the Relu or Clip behind it."""
    return item.absorbed[-1] if item.absorbed else item.tensor


def storing_noise(histogram: Histogram, stored: Parameters) -> float:
    """The mean squared error of storing, relative to the variance of the values; 0 where they do not vary."""
    counts, centres = histogram.counts, histogram.centres
    total = max(int(counts.sum()), 1)
    power = float(counts @ np.square(centres - counts @ centres / total))
    ends = np.array([stored.low]), np.array([stored.high])
    return float(storing_error(histogram, *ends, stored.highest - stored.lowest)[0]) / power if power else 0.0


def _show_histogram(name: str, histogram: Histogram, stored: Parameters, noise: float, ctx: Context) -> None:
    counts, centres, edges = histogram.counts, histogram.centres, histogram.edges
    near = stored.scale / 2  # what rounds to an end is not cut off
    cut = counts[(centres < stored.low - near) | (centres > stored.high + near)].sum() / counts.sum()
    title = f"{-10 * log10(noise):.1f} dB when stored" + (f", {100 * cut:.2g}% cut off" if cut else "")
    used = counts.nonzero()[0]
    first, end = used[0], used[-1] + 1
    limits = (stored.low, stored.high)
    data = {"low": edges[first], "high": edges[end], "counts": counts[first:end], "thresholds": limits}
    ctx.figure("histogram", title, data, name)


def show_tries(tries: Sequence[tuple[str, float]], limit: float, kind: str, ctx: Context) -> None:
    """Leave the points that each way to store the model loses, in the order in which they were tried."""
    names, values = zip(*tries, strict=True) if tries else ((), ())
    data = {"names": names, "values": values, "y_label": f"points: {kind}", "limit": limit}
    ctx.figure("bars", f"trials for max_drop={limit:g}", data)


def show_rounding(layers: Iterable[Tuned], nodes: Mapping[str, Node], ctx: Context) -> None:
    """Leave the signal-to-noise ratio that the rounded weights of each layer alone would leave it."""
    noises = {nodes[one.layer].name or one.layer: one.local for one in layers if one.layer in nodes}
    if noises:
        values = [-10 * log10(max(noise, 1e-12)) for noise in noises.values()]
        data = {"names": list(noises), "values": values, "y_label": "SQNR (dB)"}
        ctx.figure("bars", "each layer's own rounding", data)
