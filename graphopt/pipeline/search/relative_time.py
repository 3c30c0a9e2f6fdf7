"""How many times as long as a model a changed one takes: what goals in time are measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.cost import Ratios
from graphopt.runtime import paired_latency

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.contract.context import Context

SECONDS = 3.0  # time: for measuring one pair of models


def relative_time(model: Model, changed: Model, ctx: Context) -> float:
    """Return the ratio of the time of ``changed`` to that of ``model``, kept so that a plan repeats.

    Both run on the first sample of the run.  Only the ratio is measured, run by run in turn: absolute times
    need not repeat, e.g. where other work slows the machine.
    """
    feeds = next(iter(ctx.inputs.check)).feeds

    device = ctx.settings.device

    def measure() -> float:
        if device is not None:
            before, after = device.milliseconds([model, changed], [feeds, feeds], SECONDS)
            return after / before
        pair = ctx.session(model, timed=True), ctx.session(changed, timed=True)
        return paired_latency(*pair, feeds, seconds=SECONDS).ratio

    sizes = {name: values.shape for name, values in feeds.items()}
    return Ratios.open(ctx.settings.times, ctx.threads, device).of(
        model, changed, measure, under=f"{ctx.settings.session.provider} {sizes}"
    )
