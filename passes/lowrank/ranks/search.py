"""How far to go when nobody says how far: as far as held-out samples show no harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt import ir
from graphopt.pipeline.harm import Harm, last_harmless

from .choice import Chosen

FURTHER = 4  # steps from the last that is harmless without fitting on, tried with fitting


def most_harmless(
    model: ir.Model,
    steps: Sequence[Chosen],
    quick: Callable[[Chosen], None],
    thorough: Callable[[Chosen], None] | None,
    harm: Harm,
    limit: float,
) -> Chosen:
    """Return the last of ``steps`` whose harm is at most ``limit`` points.

    ``quick`` splits layers one by one, which takes little time; ``thorough`` fits the network to it, which
    does less harm, so that a few more steps may pass.  Both work on ``model``, which is put back.  Where the
    first step fails either way, no other is tried.
    """

    def last_of(compress: Callable[[Chosen], None], tried: Sequence[Chosen]) -> int:
        return last_harmless(model, lambda step: compress(tried[step]), harm, limit, len(tried))

    first = last_of(quick, steps[:2])
    last = first + last_of(quick, steps[first:]) if first else 0
    if thorough is None or last + 1 == len(steps):
        return steps[last]
    more = steps[last : last + (FURTHER if first else 2)]
    return more[last_of(thorough, more)]
