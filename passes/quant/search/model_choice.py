"""Choose between a fully quantized, a mixed and a float model by their measured time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt.runtime.timing import FASTER

from ..insertion.sizes import file_bytes, growth
from ..items import node_id
from .search import Found
from .speed import CLEARLY_FASTER, Timer, is_slower, names_of, slow_nodes
from .times_cache import Clock, KeptClock

if TYPE_CHECKING:
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Choice:
    """What is best stored, None when float is, and what was measured, in words."""

    best: Found | None
    reason: str


def choose(found: Found, ctx: Context) -> Choice:
    """Time what a draft makes of the model, and leave float what that makes quicker.

    What a budget allows is kept: layers that leave it are stored all the same.  Raises ModelError when
    onnxruntime cannot run one of the models.
    """
    full, floats = found.draft, found.floats
    timer = _timer(ctx)
    plain, stored = found.builder.model, full.stored()
    times = timer.milliseconds([plain, stored])
    if times[1] <= CLEARLY_FASTER * times[0]:
        return Choice(found, _words(times))
    slow = slow_nodes(full.placement, full.model.copy(), stored, timer, ctx.shapes)
    reason = "8 bits are slower for it on this machine: measure=false stores it anyway"
    fewer = {**floats, **{node_id(node): reason for node in slow}}
    mixed = found.builder.draft(fewer) if slow else full
    smallest = stored
    if slow and mixed.placement.layers:
        candidate = mixed.stored()
        times = timer.milliseconds([plain, stored, candidate])
        if times[2] < FASTER * times[1] and found.degradation_of(fewer) <= max(
            found.limit, found.degradation
        ):
            smallest = candidate
    is_mixed = smallest is not stored
    reached = times[2] if is_mixed else times[1]
    words = _words([times[0], reached])
    if is_slower(reached, times[0]):
        return Choice(None, f"8 bits would be slower on this machine ({words})")
    grown = growth(file_bytes(plain), file_bytes(smallest))
    if grown and reached > FASTER * times[0]:
        return Choice(None, f"8 bits would make it no faster ({words}) and larger, {grown}")
    left = f"; {names_of(slow)} stay float" if is_mixed else ""
    return Choice(replace(found, draft=mixed, floats=fewer) if is_mixed else found, words + left)


def _timer(ctx: Context) -> Clock:
    feeds, options = next(iter(ctx.calibration)).feeds, ctx.settings.session
    sizes = sorted((name, value.shape) for name, value in feeds.items())
    timer = Timer(feeds, ctx.session, options)
    return KeptClock.open(timer, ctx.settings.times, ctx.threads, f"{sizes} {options}")


def _words(times: list[float]) -> str:
    return f"{times[0]:.3g} ms in float, {times[1]:.3g} ms in 8 bits"
