"""What lower ranks of queries and keys cost, as a share of the variance of what the attention goes into.

The error of the scores is known for every rank from second moments.  What it does behind the Softmax is
measured at a few ranks, on the samples themselves, and interpolated in the error of the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import Patches
from graphopt.calibration.statistics.head_moments import tokens_of
from graphopt.ir.analysis.attention import Attention, Projection
from graphopt.ir.transform.residual import goes_into
from graphopt.solve.limits import TINY

from ..coupling.coupling import Coupling
from ..coupling.heads import rank_refusal
from ..coupling.ids import FIXED, Ids
from .basis import score_error
from .change import channel_axis, layer_matrix

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

SAMPLES = 64  # time: samples that a price is measured on
ROWS = 64  # time: queries looked at in each sequence
PARTS = (0.25, 0.5, 0.75)  # time: of the channels of a head that are left where the error is measured


@dataclass(frozen=True)
class RankCosts:
    """The channels of a head, as classes in the order in which they go, and what the first so many cost."""

    order: Ids  # (size,)
    costs: np.ndarray  # (size + 1,), rising


def rank_costs(model: ir.Model, coupling: Coupling, samples: Samples, ctx: Context) -> list[RankCosts]:
    """Price the ranks of queries and keys of every attention that has ranks to lower.

    The last channels of each head go first: the model has to be in the bases of ``change``.
    """
    meters = [
        meter for attention in coupling.attentions if (meter := _meter(attention, coupling)) is not None
    ]
    if not meters:
        return []
    names = list(dict.fromkeys(name for meter in meters for name in meter.tensors))
    session = ctx.session(model, outputs=names)
    chosen = samples.take(SAMPLES)
    for sample in ctx.progress("prune: pricing ranks of attention", chosen, len(chosen)):
        values = session.run(sample.feeds)
        for meter in meters:
            meter.update(values)
    return [meter.costs() for meter in meters]


def _meter(attention: Attention, coupling: Coupling) -> _Meter | None:
    """What measures one attention; None when its ranks cannot be lowered, or not by themselves."""
    query, key = attention.query, attention.key
    if rank_refusal(attention) or query is None or key is None:
        return None
    ids = next((layer.ids for layer in coupling.layers if layer.node is query.layer), None)
    if ids is None:
        return None
    classes = coupling.on(ids)[query.columns]
    line = classes[0]
    if (classes != line).any() or FIXED in line or len(np.unique(line)) < len(line):
        return None
    return _Meter(attention, query, key, line[::-1].copy())


@dataclass
class _Meter:
    """Sums up what leaving channels of queries and keys out does to what an attention comes to."""

    attention: Attention
    query: Projection
    key: Projection
    order: Ids
    second: list[np.ndarray] = field(default_factory=list)  # moments of queries and of keys, summed up
    tokens: int = 0
    errors: np.ndarray = field(default_factory=lambda: np.zeros(len(PARTS)))
    rows: int = 0
    count: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of what the attention goes into
    squares: float = 0.0
    measures: bool = True

    @property
    def tensors(self) -> list[str]:
        """What has to be seen."""
        names = [self.query.source.name, self.key.source.name]
        if self._can_measure:
            value, output = self.attention.value, self.attention.output
            assert value is not None and output is not None
            names += [self.attention.softmax.inputs[0].name, self.attention.scores.output.name]
            names += [value.source.name, goes_into(output.layer).name]
        return names

    @property
    def left(self) -> list[int]:
        """The numbers of channels at which the error is measured."""
        return [max(1, round(part * self.query.size)) for part in PARTS]

    @property
    def _can_measure(self) -> bool:
        """Whether all that is behind the Softmax can be carried out here."""
        value, output = self.attention.value, self.attention.output
        if not self.attention.is_plain or value is None or output is None:
            return False
        patches = Patches.of(output.layer)
        return isinstance(patches, Patches) and patches.groups == 1 and set(patches.kernel) <= {1}

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Take in one sample."""
        q, k = (_heads(one, values) for one in (self.query, self.key))
        centred = k - k.mean(axis=1, keepdims=True)
        moments = [np.einsum("bnhs,bnht->hst", x, x) for x in (q, centred)]
        self.second = (
            moments if not self.second else [a + b for a, b in zip(self.second, moments, strict=True)]
        )
        self.tokens += q.shape[0] * q.shape[1]
        if self._can_measure and self.measures:
            self._measure(q, k, values)

    def _measure(self, q: np.ndarray, k: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        value, output = self.attention.value, self.attention.output
        assert value is not None and output is not None
        v = _heads(value, values)
        sequences, tokens, heads, _ = q.shape
        shape = (sequences, heads, tokens, k.shape[1])
        scores, seen = (
            values[tensor.name].astype(np.float64)
            for tensor in (self.attention.scores.output, self.attention.softmax.inputs[0])
        )
        if scores.size != np.prod(shape) or seen.size != scores.size or v.shape[:2] != k.shape[:2]:
            self.measures = False
            return
        rows = np.unique(np.linspace(0, tokens - 1, ROWS).astype(np.int64))
        exact = np.einsum("bnhs,bmhs->bhnm", q[:, rows], k)
        scores, seen = scores.reshape(shape)[:, :, rows], seen.reshape(shape)[:, :, rows]
        if np.abs(exact - scores).max() > 1e-2 * max(np.abs(scores).max(), 1e-6):
            self.measures = False  # tokens lie in another order than in the layers
            return
        before = _softmax(seen)
        weights = _weights(output.layer)[output.rows]  # (heads, size, outputs)
        for place, left in enumerate(self.left):
            without = np.einsum("bnhs,bmhs->bhnm", q[:, rows, :, left:], k[..., left:])
            change = _softmax(seen - self.attention.scale * without) - before
            moved = np.einsum("bhnm,bmhs->bnhs", change, v)
            self.errors[place] += np.square(np.einsum("bnhs,hso->bno", moved, weights)).sum()
        self.rows += sequences * len(rows)
        total = tokens_of(values[goes_into(output.layer).name], channel_axis(output.layer)).astype(np.float64)
        flat = total.reshape(-1, total.shape[-1])
        self.sums = flat.sum(axis=0) if not self.sums.size else self.sums + flat.sum(axis=0)
        self.squares += float(np.square(flat).sum())
        self.count += len(flat)

    def costs(self) -> RankCosts:
        """The cost of every rank."""
        size = self.query.size
        scores = np.asarray(
            [score_error(self.second[0], self.second[1], left) for left in range(size, -1, -1)]
        )
        scores = np.maximum.accumulate(scores / max(self.tokens, 1) ** 2)
        if not (self.measures and self.rows and self.count):
            return RankCosts(self.order, scores / (scores[-1] or 1.0))
        variance = self.squares / self.count - float(np.square(self.sums / self.count).sum())
        measured = self.errors / self.rows / (variance + TINY)
        points = [(scores[size - left], error) for left, error in zip(self.left, measured, strict=True)]
        known = sorted({(0.0, 0.0), *points})
        return RankCosts(self.order, np.maximum.accumulate(_interpolated(scores, known)))


def _interpolated(at: np.ndarray, measured: Sequence[tuple[float, float]]) -> np.ndarray:
    """Values between known points, and on the last slope behind them."""
    places, values = (np.asarray(part) for part in zip(*measured, strict=True))
    interpolated = np.interp(at, places, values)
    if len(places) > 1 and places[-1] > places[-2]:
        slope = max((values[-1] - values[-2]) / (places[-1] - places[-2]), 0.0)
        interpolated = np.where(at > places[-1], values[-1] + slope * (at - places[-1]), interpolated)
    return np.asarray(interpolated)


def _heads(projection: Projection, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a projection makes of each token, (sequences, tokens, heads, size), scaled as for the product."""
    tokens = tokens_of(values[projection.source.name], channel_axis(projection.layer))
    return tokens[:, :, projection.columns].astype(np.float64) * projection.scale


def _weights(layer: ir.Node) -> np.ndarray:
    return layer_matrix(layer)[1]


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return weights
