"""Leave float the few layers that each make much of the noise of the outputs alone.

One tensor whose channels differ by orders of magnitude, often an early one, may cost more than all others
together.  It is found by bisection: layers are stored from the first on, and where the noise passes half of
what storing all of them makes, the last one stored is left float by way of trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .deviation import Deviation
from .items import node_id

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from .draft import Drafter

MOST = 3  # layers
GAIN = 1.5  # dB that each has to bring: nearly a third of the noise
QUIET = -30.0  # dB of noise below which nothing is looked for
JUDGES = 16  # samples


def spare(drafter: Drafter, ctx: Context) -> dict[str, str]:
    """Ids of the layers to leave float, with the reasons."""
    deviation = Deviation(drafter.plain(), ctx.calibration.take(JUDGES), ctx)
    spared: dict[str, str] = {}
    while len(spared) < MOST:
        found = _noisiest(drafter, spared, deviation)
        if found is None:
            break
        name, gain = found
        spared[name] = f"it alone costs {gain:.1f} dB of the outputs' accuracy (spare=false stores it)"
    return spared


def _noisiest(drafter: Drafter, spared: Mapping[str, str], deviation: Deviation) -> tuple[str, float] | None:
    """The layer that makes most of the noise, and how much closer the outputs are without storing it."""

    def noise(floats: Mapping[str, str]) -> float:
        return deviation.of(drafter.stored({**spared, **floats}))

    layers = [node_id(node) for node in drafter.draft(spared).placement.layers]
    whole = noise({})
    if len(layers) < 2 or whole < QUIET:
        return None
    half = whole - 3.0  # dB
    few, many = 0, len(layers)
    while many - few > 1:
        middle = (few + many) // 2
        is_past = noise(dict.fromkeys(layers[middle:], "trial")) > half
        few, many = (few, middle) if is_past else (middle, many)
    gain = whole - noise({layers[few]: "trial"})
    return (layers[few], gain) if gain >= GAIN else None
