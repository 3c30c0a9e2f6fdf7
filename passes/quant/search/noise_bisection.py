"""Leave float the few layers that make much of the noise of the outputs alone.

One tensor whose channels differ by orders of magnitude, often an early one, may cost more than all others
together.  The layer that brings it is found by bisection: layers are stored from the first on, and where the
noise passes half of what storing all of them makes, the last one stored is left float by way of trial, then
it together with the layers that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from graphopt.ir import Node

from ..items import node_id
from .output_sqnr import Deviation

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from ..plan_builder import Draft, PlanBuilder

MOST = 3  # time: searches for a layer to leave float
GAIN = 1.5  # measured (constants): dB that each has to bring, nearly a third of the noise
HALF = 3.0  # theory: dB that half of the noise is below all of it
QUIET = -30.0  # measured (constants): dB of noise below which nothing is looked for
JUDGES = 16  # time: samples


@dataclass(frozen=True)
class Spared:
    """Layers that stay float together, and how much closer that brings the outputs, in dB."""

    layers: tuple[str, ...]
    gain: float

    @property
    def reason(self) -> str:
        """Why, for each of the layers."""
        who = "it alone costs" if len(self.layers) == 1 else "what is stored between these layers alone costs"
        return f"{who} {self.gain:.1f} dB of the outputs' accuracy (keep_noisy_float=false stores it)"


def keep_noisy_float(builder: PlanBuilder, ctx: Context) -> dict[str, str]:
    """Ids of the layers to leave float, with the reasons."""
    deviation = Deviation(builder.model, ctx.calibration.take(JUDGES), ctx)
    floats: dict[str, str] = {}
    if not deviation.can_judge:
        return floats

    @cache
    def noise(names: frozenset[str]) -> float:
        return deviation.of(builder.draft(dict.fromkeys(names, "trial")).stored())

    for _ in range(MOST):
        noisiest = _noisiest(builder.draft(floats), frozenset(floats), noise)
        if noisiest is None:
            break
        floats |= dict.fromkeys(noisiest.layers, noisiest.reason)
    return floats


def _noisiest(
    draft: Draft, floats: frozenset[str], noise: Callable[[frozenset[str]], float]
) -> Spared | None:
    """The layer that makes most of the noise, with its readers if it takes them to get rid of it.

    ``noise`` in dB is that of the outputs with these layers in float; ``draft`` leaves ``floats`` so.
    """
    nodes = draft.placement.layers
    layers = [node_id(node) for node in nodes]
    whole = noise(floats)
    if len(layers) < 2 or whole < QUIET:
        return None
    few, many = 0, len(layers)
    while many - few > 1:
        middle = (few + many) // 2
        is_past = noise(floats.union(layers[middle:])) > whole - HALF
        few, many = (few, middle) if is_past else (middle, many)
    loudest = nodes[few]
    for together in ((layers[few],), (layers[few], *readers_of(loudest, set(layers)))):
        gain = whole - noise(floats.union(together))
        if gain >= GAIN:
            return Spared(together, gain)
    return None


def readers_of(node: Node, layers: set[str]) -> Iterator[str]:
    """The ids of the layers that read what a layer makes, directly or behind something that is no layer.

    Each node is visited once, however many paths lead to it.
    """
    waiting, seen = list(node.outputs), {node}
    while waiting:
        for consumer in waiting.pop().consumers:
            if consumer in seen:
                continue
            seen.add(consumer)
            if consumer.outputs and node_id(consumer) in layers:
                yield node_id(consumer)
            else:
                waiting += consumer.outputs
