"""Tucker-2: 1 x 1 to fewer channels, k x k between few channels, 1 x 1 to all outputs (Y. Kim et al., 2016).

The input side is chosen as for ``in``; given it, the output side is the best there is: the leading
components of what the least-squares answer makes of the features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from graphopt.passes.lowrank.solve.splitting import Reduction, Splitting
from graphopt.passes.lowrank.solve.whitening import Inputs, Responses

from ..layers.layer import Layer
from ..layers.stage import Stage
from .kinds import Factors, Ranks, ladder
from .twofold import as_weight, flat, in_order, part

MOST = 10  # time: ranks tried on either side


@dataclass(frozen=True)
class Tucker:
    """The split in three."""

    name: str = "tucker"
    words: str = "1 x 1 to fewer channels, k x k between them, 1 x 1 to all"

    def fits(self, layer: Layer) -> bool:
        """Whether there is a kernel to put in the middle."""
        return prod(layer.stage.kernel) > 1

    def full(self, layer: Layer) -> Ranks:
        narrow = min(layer.inputs, layer.rows // layer.inputs * layer.outputs)
        return narrow, min(layer.outputs, narrow * layer.rows // layer.inputs)

    def choices(self, layer: Layer, step: int) -> list[Ranks]:
        sides = (ladder(full, step, MOST) for full in self.full(layer))
        left, right = (list(side) for side in sides)
        taps = layer.rows // layer.inputs
        return [(one, two) for one in left for two in right if two <= one * taps]

    def stages(self, layer: Layer, ranks: Ranks) -> tuple[Stage, ...]:
        stage, group = layer.stage, layer.stage.group
        every = range(len(stage.kernel))
        narrow, wide = ranks[0] * group, ranks[1] * group
        return (
            part(stage, (), outputs=narrow),
            part(stage, every, inputs=narrow, outputs=wide),
            part(stage, (), inputs=wide),
        )

    def prepare(
        self, layer: Layer, inputs: Inputs | Responses, weights: np.ndarray, ranks: Iterable[Ranks]
    ) -> PreparedTucker:
        order = in_order(layer, (0,))
        limit = max((narrow for narrow, _ in ranks), default=1)
        return PreparedTucker(self, layer, Splitting.of(inputs, weights, layer.inputs, order, limit))


@dataclass(frozen=True)
class PreparedTucker:
    """All ranks of the split in three of one layer."""

    kind: Tucker
    layer: Layer
    splitting: Splitting
    known: dict[int, Reduction] = field(default_factory=dict)

    def errors(self, ranks: Iterable[Ranks]) -> list[float]:
        return [float(self._reduction(narrow).errors()[wide]) for narrow, wide in ranks]

    def factors(self, ranks: Ranks) -> Factors:
        first, core, last = self._reduction(ranks[0]).factors(ranks[1])
        stages = self.kind.stages(self.layer, ranks)
        weights = (
            as_weight(stage, one) for stage, one in zip(stages, (first, flat(core), last), strict=True)
        )
        product = first @ (flat(core) @ last).reshape(len(core), ranks[0], -1)
        matrix = product.reshape(len(core), self.layer.rows, -1)
        return Factors(tuple(weights), matrix, self.splitting.values)

    def _reduction(self, narrow: int) -> Reduction:
        if narrow not in self.known:
            self.known[narrow] = self.splitting.reduced(narrow)
        return self.known[narrow]
