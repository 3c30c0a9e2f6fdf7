"""What all layers of a model could become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt import cost, ir

from ..layers.study import Shelf
from ..layers.survey import Survey
from .candidates import Offer, make_offer
from .hint import hinted
from .paying import Price, pruning_price

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Offers:
    """The offers of all layers, what the whole model takes by goal, and the statistics they come from."""

    offers: tuple[Offer, ...]
    totals: dict[str, float]
    shelf: Shelf
    prices: tuple[Price, ...] = ()


def make_offers(
    found: Survey,
    kinds: Sequence[str],
    block: int,
    ctx: Context,
    *,
    rank: int | None = None,
    hint: str = "none",
    samples: Samples | None = None,
) -> Offers:
    """Try all ways and ranks on all layers that can be split; by ``samples``, all there are by default."""
    layers = list(found.layers.values())
    shelf = Shelf(replace(found, model=found.model.copy()).studied(ctx, samples))
    offers, prices = [], []
    for studied in ctx.progress("lowrank: trying ranks", found.studied(ctx, samples)(layers), len(layers)):
        offer = make_offer(studied, kinds, block, rank)
        offer = hinted(offer, studied.weights) if hint == "vbmf" else offer
        offers.append(offer)
        if found.samples is not None:
            prices += pruning_price(offer, studied, block, found.layers)
        shelf.keep(studied)
    return Offers(tuple(offers), totals_of(found.model, ctx), shelf, tuple(prices))


def totals_of(model: ir.Model, ctx: Context) -> dict[str, float]:
    """Return what a whole model takes, by goal."""
    size = cost.measure(model, ctx.shapes, custom_ops=ctx.settings.session.custom_ops)
    return {"macs": float(size.macs or 0), "params": float(size.parameters)}
