"""What ``lowrank`` offers to a search over all passes: each layer at a few ranks.

Of the ways to split a layer each move takes the one that loses least for what it leaves.  What it costs is
its error as a share of the variance that the error goes into, what it saves the share of the layer's work,
weights or measured time that goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from graphopt.cost import LatencyTable, LayerShape
from graphopt.cost.latency.layer_shape import INTEGER
from graphopt.pipeline.contract.moves import Effect, Move

from ..layers.layer import Layer
from ..ways import KINDS
from ..ways.kinds import Ranks
from .candidates import Candidate, Offer, candidate, saves_something
from .latency import FASTER, shapes_of

if TYPE_CHECKING:
    from graphopt.pipeline import Context

LEVELS = 6  # time: ranks of a layer that are offered at most; each is timed in floats and in 8 bits
SECONDS = 20.0  # time: for timing parts that the table of this machine does not have
SIZES = ("params", "bytes")  # goals that count weights


@dataclass(frozen=True)
class Split:
    """What a move does: the layer as it was, and one way and rank."""

    offer: Offer
    one: Candidate


def moves(offers: Sequence[Offer], saves: str, ctx: Context) -> Iterator[Move]:
    """The ranks of every layer as moves, the largest first; ``level`` is the share that is left.

    That share is of the layer's weights where the run saves these, else of its multiply-accumulates.
    """
    counted = "params" if saves in SIZES else "macs"
    splits = {offer.layer.output: _spread(offer, counted) for offer in offers}
    times = _time(offers, splits, ctx) if saves == "latency" else {}
    for offer in offers:
        name = offer.layer.output
        for one in splits[name]:
            level = getattr(one, counted) / getattr(offer, counted)
            shares = (level, level)
            if times:
                whole, parts = _shapes(offer.layer), _shapes(offer.layer, one)
                shares = _share(times, whole, parts, ""), _share(times, whole, parts, INTEGER)
                if min(shares) > FASTER:
                    continue
            effect = Effect(name, share=shares[0], integer_share=shares[1])
            yield Move(name, "layer", level, offer.scale * one.error, (effect,), what=Split(offer, one))


def translated(
    layers: Mapping[str, Layer], taken: Sequence[Move], block: int
) -> list[tuple[Offer, Candidate]]:
    """What moves mean for these ``layers``, by the tensor each makes, which passes before may have narrowed.

    Ranks are the same share of the full ones.  A layer that is gone, or that saves nothing any more, is left.
    """
    found = []
    for move in taken:
        split, layer = move.what, layers.get(move.item)
        kind = KINDS[split.one.kind]
        if layer is None or not kind.fits(layer):
            continue
        ranks = _scaled(split.one.ranks, kind.full(split.offer.layer), kind.full(layer), layer, block)
        if kind.name == "tucker":
            ranks = ranks[0], min(ranks[1], ranks[0] * (layer.rows // layer.inputs))
        if saves_something(layer, kind, ranks):
            offer = replace(split.offer, layer=layer, candidates=())
            found.append((offer, candidate(layer, kind, ranks, split.one.error)))
    return found


def _scaled(ranks: Ranks, before: Ranks, now: Ranks, layer: Layer, block: int) -> Ranks:
    """The same shares of other full ranks, in whole blocks where these have any."""
    if before == now:
        return ranks
    step = block // gcd(block, layer.stage.group)
    wanted = (rank * new / old for rank, old, new in zip(ranks, before, now, strict=True))
    whole = (max(step, step * round(rank / step)) for rank in wanted)
    return tuple(min(rank, full) for rank, full in zip(whole, now, strict=True))


def _spread(offer: Offer, counted: str) -> list[Candidate]:
    """A few candidates that no other beats, the most that is left first; always the least."""
    front = offer.front(lambda one: getattr(one, counted), getattr(offer, counted))
    if len(front) <= LEVELS:
        return front
    places = np.unique(np.rint(np.linspace(0, len(front) - 1, LEVELS)).astype(int))
    return [front[place] for place in places.tolist()]


def _shapes(layer: Layer, one: Candidate | None = None) -> list[LayerShape]:
    return shapes_of(layer, (layer.stage,) if one is None else KINDS[one.kind].stages(layer, one.ranks))


def _time(
    offers: Sequence[Offer], splits: Mapping[str, Sequence[Candidate]], ctx: Context
) -> dict[LayerShape, float]:
    """Look up or measure layers and what they may become, in floats and in 8 bits: milliseconds."""
    table = LatencyTable.open(
        ctx.settings.times, ctx.threads, seconds=SECONDS, progress=ctx.settings.progress
    )
    floats = [
        shape
        for offer in offers
        for one in (None, *splits[offer.layer.output])
        for shape in _shapes(offer.layer, one)
    ]
    flat = list(dict.fromkeys([*floats, *(replace(shape, dtype=INTEGER) for shape in floats)]))
    return dict(zip(flat, table.milliseconds(flat).tolist(), strict=True))


def _share(
    times: Mapping[LayerShape, float], whole: Sequence[LayerShape], parts: Sequence[LayerShape], kernel: str
) -> float:
    """What parts take of the time of the whole, in floats or in 8 bits."""
    before, after = (
        sum(times[replace(shape, dtype=kernel) if kernel else shape] for shape in shapes)
        for shapes in (whole, parts)
    )
    return after / max(before, 1e-9)
