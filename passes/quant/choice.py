"""Choose between a fully quantized, a mixed and a float model by their measured time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.ir import Model

from .draft import Draft, Drafter
from .insertion import insert
from .items import node_id
from .kept_times import Clock, KeptClock
from .speed import BETTER, CLEARLY_FASTER, Timer, is_slower, slow_nodes, told

if TYPE_CHECKING:
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Choice:
    """The quickest draft, None when float is quickest, and what was measured, in words."""

    draft: Draft | None
    reason: str


def choose(drafter: Drafter, floats: Mapping[str, str], ctx: Context) -> Choice:
    """Time what a draft makes of the model, and leave float what that makes quicker.

    ``floats`` are the ids of layers that stay float in any case, with the reasons.  Raises ModelError when
    onnxruntime cannot run one of the models.
    """
    timer = _timer(ctx)
    full = drafter.draft(floats)
    rewritten, stored = drafter.model.copy(), _stored(drafter.model, full)
    plain = drafter.plain()
    times = timer.milliseconds([plain, stored])
    if times[1] <= CLEARLY_FASTER * times[0]:
        return Choice(drafter.draft(floats), _words(times))
    full = drafter.draft(floats)
    slow = slow_nodes(full.placement, rewritten, stored, timer, ctx.shapes)
    reason = "8 bits are slower for it on this machine: measure=false stores it all the same"
    mixed = drafter.draft({**floats, **{node_id(node): reason for node in slow}}) if slow else full
    if slow and mixed.placement.layers:
        times = timer.milliseconds([plain, stored, _stored(drafter.model, mixed)])
    best = mixed if len(times) > 2 and times[2] < BETTER * times[1] else drafter.draft(floats)
    reached = times[2] if best is mixed else times[1]
    if is_slower(reached, times[0]):
        return Choice(None, f"8 bits would be slower on this machine ({_words([times[0], reached])})")
    left = f"; {told(slow)} stay float" if best is mixed else ""
    return Choice(best, _words([times[0], reached]) + left)


def _timer(ctx: Context) -> Clock:
    feeds, options = next(iter(ctx.calibration)).feeds, ctx.settings.session
    sizes = sorted((name, value.shape) for name, value in feeds.items())
    timer = Timer(feeds, ctx.session, options)
    return KeptClock.open(timer, ctx.settings.times, ctx.settings.threads, f"{sizes} {options}")


def _stored(model: Model, draft: Draft) -> Model:
    """The model of a draft with its pairs; the draft must be the last one made."""
    made = model.copy()
    insert(made.graph, draft.items)
    return made


def _words(times: list[float]) -> str:
    return f"{times[0]:.3g} ms in float, {times[1]:.3g} ms in 8 bits"
