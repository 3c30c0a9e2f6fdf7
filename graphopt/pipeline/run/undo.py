"""Takes the last passes of a run back where they make the result slower than the input.

A pass is taken back only when nobody asked for more than speed (``Pass.is_for_speed``), and only by a clear
difference that every sitting of interleaved runs shows: timings are noisy, and a result should repeat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.pipeline.results.result_measurer import is_clearly_slower
from graphopt.pipeline.run.instruments import size
from graphopt.record.record import PassRecord, Skip

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.run.manager import Outcome
    from graphopt.pipeline.spec.arrange import PipelineEntry
    from graphopt.runtime import PairedLatency

SITTINGS = 2  # noise: that have to show it, each with sessions of its own


@dataclass(frozen=True)
class Undone:
    """Passes taken back: all from ``first`` on, and why."""

    first: int
    reason: str


def undo_slow(
    model: Model,
    stages: Sequence[PipelineEntry],
    outcome: Outcome,
    measure: Callable[[Model], PairedLatency],
    announce: Callable[[str], None],
) -> Undone | None:
    """Put ``model`` back to its last checked state that is not slower than the input; None when none is due.

    ``measure`` times a model against the input in a new sitting. ``outcome`` holds the states and is brought
    up to date: a pass that was taken back changed nothing, and says why.
    """
    slow = _confirmed(model, measure)
    if slow is None:
        return None
    last = len(stages)
    for first, state in reversed(outcome.states):
        if not all(stage.step.is_for_speed for stage in stages[first:last]):
            return None
        last = first
        if not any(record.changes for record in outcome.records[first:]):
            continue
        present = model.snapshot()
        model.restore(state)
        if first == 0 or _confirmed(model, measure) is None:
            return _take_back(first, model, outcome, slow, announce)
        model.restore(present)
    return None


def _confirmed(model: Model, measure: Callable[[Model], PairedLatency]) -> PairedLatency | None:
    """The last of the sittings when each shows that the model is slower than the input."""
    paired = None
    for _ in range(SITTINGS):
        paired = measure(model)
        if not is_clearly_slower(paired):
            return None
    return paired


def _take_back(
    first: int, model: Model, outcome: Outcome, slow: PairedLatency, announce: Callable[[str], None]
) -> Undone:
    records = outcome.records
    names = " and ".join(dict.fromkeys(record.name for record in records[first:] if record.changes))
    low, high = (slow.ratio * (1 + side * slow.spread) for side in (-1, 1))
    reason = (
        f"taken back, because the result was slower here than the input: {slow.b.median_ms:.3g} ms instead "
        f"of {slow.a.median_ms:.3g} ms, {low:.2f} to {high:.2f} times as long (--no-latency keeps it)"
    )
    announce(f"{names}: {reason}")
    now = size(model)
    for index in range(first, len(records)):
        records[index] = _unchanged(records[index], reason, now.nodes, now.parameters, now.bytes)
    outcome.states = [(index, state) for index, state in outcome.states if index < first]
    return Undone(first, f"{names}: {reason}")


def _unchanged(record: PassRecord, reason: str, nodes: int, parameters: int, size_bytes: int) -> PassRecord:
    """The record of a pass that was taken back; its plan does nothing, so that a replay repeats the run."""
    return dataclasses.replace(
        record,
        changes=(),
        skips=(Skip("model", reason),) if record.changes else record.skips,
        nodes=nodes,
        parameters=parameters,
        bytes=size_bytes,
        max_abs_diff=None,
        snr_db=None,
        plan=None if record.plan is None else (),
        figures=(),
        summary="",
        details={},
    )
