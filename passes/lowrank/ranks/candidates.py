"""What each layer could become, and what that would cost: error, multiply-accumulates, parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import gcd

from graphopt.passes.lowrank.solve.whitening import Responses

from ..layers.layer import Layer
from ..layers.stage import macs
from ..layers.study import Studied
from ..ways import KINDS
from ..ways.kinds import Kind, Ranks


@dataclass(frozen=True)
class Candidate:
    """One way and rank; ``error`` is the mean squared error of the layer's output."""

    kind: str
    ranks: Ranks
    macs: int
    params: int
    error: float


@dataclass(frozen=True)
class Offer:
    """All candidates of one layer that save multiply-accumulates or parameters."""

    layer: Layer
    energy: float  # variance of the layer's output
    scale: float  # turns errors into shares of the variance they go into
    candidates: tuple[Candidate, ...]

    @property
    def macs(self) -> int:
        """What the layer takes as it is."""
        return self.layer.macs

    @property
    def params(self) -> int:
        """What the layer holds as it is."""
        return self.layer.stage.params

    def front(self, use: Callable[[Candidate], float], most: float) -> list[Candidate]:
        """Return the candidates below ``most`` that no other beats in error and ``use``, falling in use."""
        kept: list[Candidate] = []
        for one in sorted(self.candidates, key=lambda one: (use(one), one.error, one.kind)):
            if use(one) < most and (not kept or one.error < kept[-1].error):
                kept.append(one)
        return kept[::-1]


def make_offer(studied: Studied, kinds: Iterable[str], block: int, rank: int | None = None) -> Offer:
    """Try all ways and ranks on one layer, or one ``rank`` alone.

    Ranks are such that all groups together make whole blocks.
    """
    layer = studied.layer
    step = block // gcd(block, layer.stage.group)
    blurred = isinstance(studied.inputs, Responses)
    candidates: list[Candidate] = []
    for kind in (KINDS[name] for name in kinds):
        if not kind.fits(layer) or (blurred and kind.name not in ("svd", "out")):
            continue
        tried = kind.choices(layer, step) if rank is None else _same(layer, kind, rank)
        ranks = [ranks for ranks in tried if saves_something(layer, kind, ranks)]
        if ranks:
            prepared = kind.prepare(layer, studied.inputs, studied.weights, ranks)
            candidates += [
                candidate(layer, kind, one, error)
                for one, error in zip(ranks, prepared.errors(ranks), strict=True)
            ]
    return Offer(layer, studied.energy, studied.scale, tuple(candidates))


def candidate(layer: Layer, kind: Kind, ranks: Ranks, error: float) -> Candidate:
    """Return one way and rank with what it takes."""
    stages = kind.stages(layer, ranks)
    return Candidate(
        kind.name, ranks, macs(stages, layer.source), sum(stage.params for stage in stages), error
    )


def _same(layer: Layer, kind: Kind, rank: int) -> list[Ranks]:
    """The one rank on all sides, where it is below the full rank of each."""
    full = kind.full(layer)
    return [(rank,) * len(full)] if rank < min(full) else []


def saves_something(layer: Layer, kind: Kind, ranks: Ranks) -> bool:
    """Whether a split has fewer multiply-accumulates or fewer parameters."""
    stages = kind.stages(layer, ranks)
    return (
        macs(stages, layer.source) < layer.macs or sum(stage.params for stage in stages) < layer.stage.params
    )
