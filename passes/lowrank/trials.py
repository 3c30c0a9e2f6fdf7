"""What sensitivity tries: each layer alone, in the way that suits it best, at several ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphopt.pipeline import Plan, Trial

from .plan import write_item
from .ranks.candidates import Candidate, Offer
from .ways import KINDS

LEVELS = 6  # shown: ranks tried of each layer
HALF = 0.5  # shown: of a layer's multiply-accumulates: where ways are compared


def trials(offers: Sequence[Offer]) -> Iterator[Trial]:
    """Yield the trials of each layer, from its largest rank down; levels are fractions of the full rank.

    With two ranks the level is the fraction of their product.  Other layers are not fitted to a trial.
    """
    for offer in offers:
        for one in _spread(offer):
            item = {**write_item(offer, one, "one layer alone"), "alone": True}
            yield Trial(offer.layer.name, _level(offer, one), Plan((item,)))


def _spread(offer: Offer) -> list[Candidate]:
    if not offer.candidates:
        return []
    middle = min(offer.candidates, key=lambda one: _loss_at_half(offer, one))
    same = tuple(one for one in offer.candidates if one.kind == middle.kind)
    falling = replace(offer, candidates=same).front(lambda one: one.macs, offer.macs)
    count = min(LEVELS, len(falling))
    places = [round(place * (len(falling) - 1) / max(count - 1, 1)) for place in range(count)]
    return [falling[place] for place in places]


def _loss_at_half(offer: Offer, one: Candidate) -> tuple[bool, float, int]:
    return one.macs > HALF * offer.macs, one.error, one.macs


def _level(offer: Offer, one: Candidate) -> float:
    level = 1.0
    for rank, full in zip(one.ranks, KINDS[one.kind].full(offer.layer), strict=True):
        level *= rank / full
    return round(level, 4)
