"""How far to go when nobody says how far: as far as held-out samples show no degradation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphopt import ir
from graphopt.pipeline.search.degradation import Degradation, bisect_within_budget

from .choice import Chosen

Note: TypeAlias = "Callable[[Chosen, float, str], None]"

QUICK, THOROUGH = "layer by layer", "fitted to the network"  # the ways, as plots name them
FURTHER = 4  # time: steps from the last that is within the limit without fitting, tried with fitting


def last_within_limit(
    model: ir.Model,
    steps: Sequence[Chosen],
    quick: Callable[[Chosen], None],
    thorough: Callable[[Chosen], None] | None,
    degradation: Degradation,
    limit: float,
    note: Note | None = None,
) -> Chosen:
    """Return the last of ``steps`` whose degradation is at most ``limit`` points.

    ``quick`` splits layers one by one, which takes little time; ``thorough`` fits the network to it, which
    degrades less, so that a few more steps may pass.  Both work on ``model``, which is put back.  Where the
    first step fails either way, no other is tried.  ``note`` is called with each step tried, its
    degradation and the way.
    """

    def last_of(compress: Callable[[Chosen], None], tried: Sequence[Chosen], way: str = QUICK) -> int:
        def note_quick(step: int, cost: float) -> None:
            if note is not None:
                note(tried[step], cost, way)

        return bisect_within_budget(
            model, lambda step: compress(tried[step]), degradation, limit, len(tried), note=note_quick
        )

    first = last_of(quick, steps[:2])
    last = first + last_of(quick, steps[first:]) if first else 0
    if thorough is None or last + 1 == len(steps):
        return steps[last]
    more = steps[last : last + (FURTHER if first else 2)]
    return more[last_of(thorough, more, THOROUGH)]
