"""What the splits in two have in common: the first layer sees some axes of the kernel, the second the rest.

The first layer has no bias: behind it the second one pads with zeros, and a bias would have to be there too.
It carries stride, padding and dilation of its own axes and 1, 0, 1 of the others; the second the other way
round, and the bias.  So both together are exactly one convolution with the product of the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from graphopt.passes.lowrank.solve.splitting import Splitting
from graphopt.passes.lowrank.solve.whitening import Inputs, Responses

from ..layers.layer import Layer
from ..layers.stage import Stage
from .kinds import Factors, Ranks, ladder

MOST = 32  # time: ranks tried of one layer


def part(stage: Stage, axes: Iterable[int], **sizes: int) -> Stage:
    """Return a convolution that does the work of ``stage`` along these spatial axes only."""
    kept = set(axes)
    rank = len(stage.kernel)

    def only(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if place % rank in kept else other for place, value in enumerate(values))

    made = replace(
        stage,
        kernel=only(stage.kernel, 1),
        strides=only(stage.strides, 1),
        dilations=only(stage.dilations, 1),
        pads=only(stage.pads, 0),
    )
    return replace(made, **sizes)  # type: ignore[arg-type]


def in_order(layer: Layer, inner: tuple[int, ...]) -> np.ndarray:
    """Return the rows of the layer's matrix with the ``inner`` axes in front."""
    axes = range(len(layer.axes))
    order = (*inner, *(axis for axis in axes if axis not in inner))
    return np.arange(layer.rows).reshape(layer.axes).transpose(order).ravel()


@dataclass(frozen=True)
class Twofold:
    """A split in two.

    ``inner`` names the axes that the first layer sees: 0 are the channels, which it always sees, 1, 2, ...
    the axes of the kernel.
    """

    name: str
    words: str
    inner: tuple[int, ...]

    def seen(self, layer: Layer) -> tuple[int, ...]:
        """Return the axes that the first layer sees."""
        return self.inner

    def inside(self, layer: Layer) -> int:
        """Return how many inputs the first layer sees."""
        return int(np.prod([layer.axes[axis] for axis in self.seen(layer)]))

    def full(self, layer: Layer) -> Ranks:
        inside = self.inside(layer)
        return (min(inside, layer.rows // inside * layer.outputs),)

    def choices(self, layer: Layer, step: int) -> list[Ranks]:
        return [(rank,) for rank in ladder(self.full(layer)[0], step, MOST)]

    def stages(self, layer: Layer, ranks: Ranks) -> tuple[Stage, ...]:
        stage, width = layer.stage, ranks[0] * layer.stage.group
        if stage.op != "Conv":
            return replace(stage, outputs=width), replace(stage, inputs=width)
        first = {axis - 1 for axis in self.seen(layer) if axis}
        second = set(range(len(stage.kernel))) - first
        return part(stage, first, outputs=width), part(stage, second, inputs=width)

    def prepare(
        self, layer: Layer, inputs: Inputs | Responses, weights: np.ndarray, ranks: Iterable[Ranks]
    ) -> PreparedTwofold:
        order = in_order(layer, self.seen(layer))
        limit = max((rank for (rank,) in ranks), default=1)
        splitting = Splitting.of(inputs, weights, self.inside(layer), order, limit)
        return PreparedTwofold(self, layer, order, splitting)


@dataclass(frozen=True)
class PreparedTwofold:
    """All ranks of a split in two of one layer."""

    kind: Twofold
    layer: Layer
    order: np.ndarray
    splitting: Splitting

    def errors(self, ranks: Iterable[Ranks]) -> list[float]:
        by_rank = self.splitting.errors()
        return [float(by_rank[rank]) for (rank,) in ranks]

    def factors(self, ranks: Ranks) -> Factors:
        first, second = self.splitting.factors(ranks[0])
        one, two = self.kind.stages(self.layer, ranks)
        groups, outputs = len(second), second.shape[3]
        product = first @ second.reshape(groups, ranks[0], -1)
        matrix = np.empty((groups, self.layer.rows, outputs))
        matrix[:, self.order] = product.reshape(groups, self.layer.rows, outputs)
        weights = as_weight(one, first), as_weight(two, flat(second))
        return Factors(weights, matrix, self.splitting.values)


def flat(second: np.ndarray) -> np.ndarray:
    """(groups, rank, outer, outputs) as (groups, rank x outer, outputs)."""
    return second.reshape(len(second), -1, second.shape[-1])


def as_weight(stage: Stage, matrix: np.ndarray) -> np.ndarray:
    """Return a matrix (groups, inputs x kernel, outputs) in the layout of the layer's weights."""
    if stage.op == "Conv":
        return np.ascontiguousarray(matrix.transpose(0, 2, 1)).reshape(stage.weight)
    return np.ascontiguousarray(matrix[0].T if stage.flipped else matrix[0])
