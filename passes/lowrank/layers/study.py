"""What the calibration samples say about the layers: the inputs of each, and how much its output matters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import ir
from graphopt.calibration import ChannelMoments, Gram, Patches, StatisticSpec
from graphopt.ir.transform.concatenation import concatenation_share
from graphopt.ir.transform.residual import goes_into
from graphopt.passes.lowrank.solve.whitening import Inputs, Responses
from graphopt.solve import SAMPLES, gram_bytes
from graphopt.solve.limits import TINY

from .layer import Layer

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

TOGETHER = 512 * 2**20  # memory: bytes of Gram matrices collected in one pass over the samples
KEPT = 512 * 2**20  # memory: bytes of covariances kept for trials

Requests = dict[str, list[StatisticSpec]]


@dataclass(frozen=True)
class Studied:
    """One layer: what it reads, and the scale that turns its error into a share of what the error goes into.

    That is the variance of the residual sum right behind the layer where there is one, else of its output;
    layers whose outputs are concatenated count as the parts of one, each by its share of the channels.
    """

    layer: Layer
    inputs: Inputs | Responses
    weights: np.ndarray  # (groups, n, outputs)
    energy: float  # variance of the output
    scale: float


def study(model: ir.Model, layers: Sequence[Layer], samples: Samples, ctx: Context) -> Iterator[Studied]:
    """Yield the layers with their statistics, as many at a time as memory allows a pass over the samples."""
    samples = samples.take(SAMPLES)
    waiting: list[Layer] = []
    taken = 0
    for layer in layers:
        unknowns = layer.rows if layer.has_affordable_gram else layer.outputs
        size = gram_bytes(layer.stage.group, unknowns)
        if waiting and taken + size > TOGETHER:
            yield from _collected(model, waiting, samples, ctx)
            waiting, taken = [], 0
        waiting.append(layer)
        taken += size
    if waiting:
        yield from _collected(model, waiting, samples, ctx)


def blind(layers: Sequence[Layer]) -> Iterator[Studied]:
    """Yield the layers with inputs of which nothing is known: errors are those of the weights."""
    for layer in layers:
        inputs, weights = Inputs.unknown(layer.stage.group, layer.rows), weights_of(layer)
        energy = inputs.energy(weights)
        yield Studied(layer, inputs, weights, energy, concatenation_share(layer.node) / (energy + TINY))


def weights_of(layer: Layer) -> np.ndarray:
    """Return the layer's weights as a matrix (groups, n, outputs), with Gemm's alpha in them."""
    weight = layer.node.inputs[1].constant
    assert weight is not None
    matrix: np.ndarray = layer.patches.matrix(weight) * float(layer.node.attr("alpha", 1.0))
    return matrix


def _collected(model: ir.Model, layers: Sequence[Layer], samples: Samples, ctx: Context) -> Iterator[Studied]:
    requests: Requests = defaultdict(list)
    asked = [_ask(layer, requests, ctx) for layer in layers]
    statistics: dict[str, list[Any]] = dict(ctx.collect(model, requests, samples, allow_nonfinite=True))
    for layer, places in zip(layers, asked, strict=True):
        first, *others = (statistics[name][place] for name, place in places)
        statistics[places[0][0]][places[0][1]] = None  # its memory is needed for what is made of it
        yield _studied(layer, first, *others)


def _ask(layer: Layer, requests: Requests, ctx: Context) -> list[tuple[str, int]]:
    """Note what has to be collected for a layer; return under which names and places it will be found."""
    axis = -1 if layer.node.op == "MatMul" else 1
    source, after = layer.node.inputs[0].name, goes_into(layer.node).name
    wanted: list[tuple[str, StatisticSpec]]
    if layer.has_affordable_gram:
        wanted = [(source, _gram(layer.patches, layer.biased, ctx.seed))]
    else:
        ctx.warn(
            f"{layer.name} reads {layer.rows} values at a time, too many for their covariance: it is split "
            "by what it computes at sampled positions alone"
        )
        wanted = [(layer.output, _gram(_points(layer), True, ctx.seed)), (source, _moments(axis))]
    wanted.append((after, _moments(axis)))
    places = []
    for name, spec in wanted:
        places.append((name, len(requests[name])))
        requests[name].append(spec)
    return places


def _studied(layer: Layer, sums: Gram, *moments: ChannelMoments) -> Studied:
    weights = weights_of(layer)
    inputs: Inputs | Responses
    if len(moments) == 1:
        inputs = Inputs.of(sums.gram, max(sums.count, 1), bias=sums.bias)
    else:
        outputs = Inputs.of(sums.gram, max(sums.count, 1), bias=True)
        mean = np.repeat(moments[0].mean, layer.rows // layer.inputs)
        inputs = Responses(mean.reshape(layer.stage.group, -1), outputs.covariance)
    variance = float(moments[-1].variance.sum())
    scale = concatenation_share(layer.node) / (variance + TINY)
    return Studied(layer, inputs, weights, inputs.energy(weights), scale)


def _points(layer: Layer) -> Patches:
    """How the layer's outputs are read one position at a time."""
    if layer.node.op != "Conv":
        return Patches("MatMul")
    rank = len(layer.stage.kernel)
    one, zero = (1,) * rank, (0,) * (2 * rank)
    return Patches("Conv", one, one, one, zero, groups=layer.stage.group)


def _gram(patches: Patches, bias: bool, seed: int) -> StatisticSpec:
    return StatisticSpec.of("gram", patches=patches, bias=bias, seed=seed)


def _moments(axis: int) -> StatisticSpec:
    return StatisticSpec.of("channel-moments", axis=axis)


class Shelf:
    """Keeps the statistics of layers as far as memory allows, and collects the others again when asked."""

    def __init__(self, collect: Callable[[Sequence[Layer]], Iterator[Studied]]) -> None:
        self._collect = collect
        self._kept: dict[str, Studied] = {}
        self._taken = 0

    def keep(self, one: Studied) -> None:
        """Keep the statistics of a layer, if there is room."""
        size = one.inputs.covariance.nbytes
        if self._taken + size <= KEPT:
            self._kept[one.layer.output] = one
            self._taken += size

    def find(self, layers: Sequence[Layer]) -> Iterator[Studied]:
        """Yield the statistics of these layers, known ones first."""
        missing = []
        for layer in layers:
            if layer.output in self._kept:
                yield replace(self._kept[layer.output], layer=layer)
            else:
                missing.append(layer)
        if missing:
            yield from self._collect(missing)
