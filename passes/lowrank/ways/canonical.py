"""CP: 1 x 1 to rank channels, a depthwise k x k, 1 x 1 to all outputs (V. Lebedev et al., 2015).

The first two layers come from alternating least squares on the weights, whitened over the channels; the last
one is the exact least-squares answer to their features in the whole covariance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from graphopt.passes.lowrank.solve.polyadic import canonical
from graphopt.passes.lowrank.solve.whitening import Inputs, Responses, lower_factor, solve_lower, solve_upper

from ..layers.layer import Layer
from ..layers.stage import Stage
from .kinds import Factors, Ranks, ladder
from .twofold import as_weight, part

MOST = 6  # time: ranks tried: each is solved anew


@dataclass(frozen=True)
class Canonical:
    """The split in three with a depthwise middle."""

    name: str = "cp"
    words: str = "1 x 1, depthwise k x k, 1 x 1"

    def fits(self, layer: Layer) -> bool:
        """Whether there is a kernel to put in the middle."""
        return prod(layer.stage.kernel) > 1

    def full(self, layer: Layer) -> Ranks:
        sizes = sorted((layer.inputs, layer.rows // layer.inputs, layer.outputs))
        return (sizes[0] * sizes[1],)

    def choices(self, layer: Layer, step: int) -> list[Ranks]:
        most = layer.rows * layer.outputs // (layer.inputs + layer.outputs)  # beyond, nothing is saved
        return [(rank,) for rank in ladder(min(self.full(layer)[0], most), step, MOST)]

    def stages(self, layer: Layer, ranks: Ranks) -> tuple[Stage, ...]:
        stage, width = layer.stage, ranks[0] * layer.stage.group
        middle = part(stage, range(len(stage.kernel)), inputs=width, outputs=width)
        return part(stage, (), outputs=width), replace(middle, group=width), part(stage, (), inputs=width)

    def prepare(
        self, layer: Layer, inputs: Inputs | Responses, weights: np.ndarray, ranks: Iterable[Ranks]
    ) -> PreparedCanonical:
        if isinstance(inputs, Responses):
            raise ValueError("layer outputs say nothing about single positions of the kernel")
        return PreparedCanonical(self, layer, inputs, weights)


@dataclass(frozen=True)
class PreparedCanonical:
    """CP splits of one layer, each rank solved when it is asked for."""

    kind: Canonical
    layer: Layer
    inputs: Inputs
    weights: np.ndarray  # (groups, n, outputs)
    known: dict[int, Solved] = field(default_factory=dict)

    def errors(self, ranks: Iterable[Ranks]) -> list[float]:
        return [self._solved(rank).error for (rank,) in ranks]

    def factors(self, ranks: Ranks) -> Factors:
        solved = self._solved(ranks[0])
        first, middle, last = self.kind.stages(self.layer, ranks)
        taps = solved.taps.transpose(0, 2, 1).reshape(middle.weight)  # (groups, rank, taps), a row a channel
        weights = (as_weight(first, solved.channels), taps, as_weight(last, solved.outputs))
        return Factors(weights, solved.features @ solved.outputs)

    def _solved(self, rank: int) -> Solved:
        if rank not in self.known:
            parts = [self._group(group, rank) for group in range(len(self.weights))]
            channels, taps, outputs, features = (np.stack(part) for part in zip(*parts, strict=True))
            left = self.weights - features @ outputs
            self.known[rank] = Solved(channels, taps, outputs, features, self.inputs.energy(left))
        return self.known[rank]

    def _group(self, group: int, rank: int) -> tuple[np.ndarray, ...]:
        covariance, weights = self.inputs.covariance[group], self.weights[group]
        inputs = self.layer.inputs
        taps = len(weights) // inputs
        blocks = covariance.reshape(inputs, taps, inputs, taps)
        lower = lower_factor(np.einsum("atbt->ab", blocks)[None] / taps)
        white = lower[0].T @ weights.reshape(inputs, -1)
        one, two, last = canonical(white.reshape(inputs, taps, -1), rank)
        channels = solve_upper(lower, one[None])[0]
        features = np.einsum("ir,tr->itr", channels, two).reshape(-1, rank)
        if rank < self.kind.full(self.layer)[0]:
            last = _answer(covariance, features, weights).T
        return channels, two, last.T, features


@dataclass(frozen=True)
class Solved:
    """One rank: (groups, inputs, rank), (groups, taps, rank), (groups, rank, outputs), and the features."""

    channels: np.ndarray
    taps: np.ndarray
    outputs: np.ndarray
    features: np.ndarray  # (groups, n, rank)
    error: float


def _answer(covariance: np.ndarray, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The outputs that explain most of ``weights`` from these features, (rank, outputs)."""
    turned = features.T @ covariance
    lower = lower_factor((turned @ features)[None])
    answer: np.ndarray = solve_upper(lower, solve_lower(lower, (turned @ weights)[None]))[0]
    return answer
