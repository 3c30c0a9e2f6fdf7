"""Spend milliseconds: candidates are timed one by one, and what they make of the whole network is measured.

A candidate has to be a tenth faster than the layer it stands for.  Times of single layers do not quite add up
to that of a network, so the plan is tried, with random weights, and the budget moved until the measured
ratio fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.cost import LatencyTable, LayerShape
from graphopt.pipeline.search.relative_time import relative_time
from graphopt.solve import BudgetSearch, search_budget
from graphopt.solve.budget_search import CLOSE, TRIES

from ..fit.surgery import replace_layer
from ..layers.layer import Layer
from ..layers.stage import Stage, sources
from ..ways import KINDS
from .candidates import Candidate, Offer
from .choice import Chooser, Chosen

if TYPE_CHECKING:
    from graphopt.pipeline import Context

FASTER = 0.9  # noise: of the layer's time, which a candidate must not exceed
TIMED = 10  # time: candidates of one layer that are timed


@dataclass(frozen=True)
class Timed:
    """Milliseconds of every layer and candidate, and those of everything else together."""

    layers: Mapping[str, float]  # by the tensor that the layer makes
    candidates: Mapping[tuple[str, str, tuple[int, ...]], float]

    def use(self, offer: Offer, one: Candidate | None) -> float:
        """Return the time of a layer, as it is or split."""
        name = offer.layer.output
        return self.layers[name] if one is None else self.candidates[name, one.kind, one.ranks]

    def worth(self, offer: Offer) -> Offer:
        """Return the offer with the candidates that are enough faster than the layer."""
        limit = FASTER * self.use(offer, None)
        measured = [one for one in offer.candidates if self._key(offer, one) in self.candidates]
        return replace(offer, candidates=tuple(one for one in measured if self.use(offer, one) <= limit))

    def _key(self, offer: Offer, one: Candidate) -> tuple[str, str, tuple[int, ...]]:
        return offer.layer.output, one.kind, one.ranks


def time_all(offers: Sequence[Offer], ctx: Context) -> Timed:
    """Look up or measure the layers of all offers and the best of their candidates."""
    settings = ctx.settings
    table = LatencyTable.open(settings.times, ctx.threads, progress=settings.progress, device=settings.device)
    wanted: dict[tuple[str, str, tuple[int, ...]], list[LayerShape]] = {}
    whole: dict[str, LayerShape] = {}
    for offer in offers:
        layer = offer.layer
        whole[layer.output] = shapes_of(layer, (layer.stage,))[0]
        for one in thinned(offer):
            stages = KINDS[one.kind].stages(layer, one.ranks)
            wanted[layer.output, one.kind, one.ranks] = shapes_of(layer, stages)
    flat = list(dict.fromkeys([*whole.values(), *(shape for shapes in wanted.values() for shape in shapes)]))
    times = dict(zip(flat, table.milliseconds(flat).tolist(), strict=True))
    return Timed(
        {name: times[shape] for name, shape in whole.items()},
        {key: sum(times[shape] for shape in shapes) for key, shapes in wanted.items()},
    )


def shapes_of(layer: Layer, stages: Sequence[Stage]) -> list[LayerShape]:
    """Return these stages as the table of latencies knows them."""
    read = sources(stages, layer.source)
    return [stage.shape(dims, layer.dtype.name) for stage, dims in zip(stages, read, strict=True)]


def thinned(offer: Offer) -> list[Candidate]:
    """Return a few candidates spread over what they save, the best of each size."""
    front = offer.front(lambda one: one.macs, FASTER * offer.macs)
    if len(front) <= TIMED:
        return front
    wanted = np.linspace(front[-1].macs, front[0].macs, TIMED)
    places = {int(np.argmin([abs(one.macs - size) for one in front])) for size in wanted}
    return [front[place] for place in sorted(places)]


def reach_latency(model: ir.Model, chooser: Chooser, goal: float, ctx: Context) -> BudgetSearch[Chosen]:
    """Return the choice whose measured time is about ``goal`` of the model's, and that time.

    At first the layers are taken to be all that takes time; what is measured moves the budget.  Where the
    goal cannot be reached, the fastest choice tried comes back.
    """
    timed = time_all(chooser.offers, ctx)
    chooser = replace(chooser, offers=[timed.worth(offer) for offer in chooser.offers])
    whole = max(sum(timed.layers.values()), 1e-9)

    def propose(budget: float) -> tuple[Chosen, bool]:
        chosen, kept = chooser.spend(timed.use, whole, budget)
        return chosen, kept and any(chosen)  # a budget that splits nothing ends the search

    def measure(chosen: Chosen) -> float:
        return relative_time(model, _trial(model, chooser.offers, chosen), ctx)

    tries = ctx.progress("lowrank: measuring plans", range(TRIES), TRIES)
    return search_budget(goal, chooser.none(), propose, measure, tries, close=CLOSE)


def _trial(model: ir.Model, offers: Sequence[Offer], chosen: Chosen) -> ir.Model:
    """Carry a choice out with random weights: time depends on sizes alone."""
    trial = model.copy()
    nodes = {node.output.name: node for node in trial.graph.nodes if node.outputs}
    rng = np.random.default_rng(0)
    for offer, one in zip(offers, chosen, strict=True):
        if one is None:
            continue
        layer = replace(offer.layer, node=nodes[offer.layer.output])
        stages = KINDS[one.kind].stages(layer, one.ranks)
        weights = [rng.standard_normal(stage.weight) / np.sqrt(np.prod(stage.weight[1:])) for stage in stages]
        replace_layer(trial.graph, layer, stages, weights, None)
    trial.sort()
    return trial
