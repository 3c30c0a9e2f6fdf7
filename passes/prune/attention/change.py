"""Write the weights of a model in the best bases of its heads, and drop the biases that change nothing.

Three changes are exact and cost nothing.  A bias of the keys adds the same to all scores of a query, which a
Softmax does not see; a bias of the values comes out of the Softmax as it went in, because its weights add up
to one, and belongs to the bias of the layer behind; and bases may change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import HeadMoments, Patches, StatisticSpec
from graphopt.ir.analysis.attention import Attention, Projection, Reader
from graphopt.ir.transform.layer_bias import vector_bias
from graphopt.solve import SAMPLES

from ..coupling.heads import rank_refusal, value_refusal
from .basis import score_bases, value_bases

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Moments:
    """Second moments of the queries, keys and results of the heads of one attention."""

    queries: np.ndarray | None
    keys: np.ndarray | None
    results: np.ndarray | None


def change_bases(
    model: ir.Model, attentions: Sequence[Attention], samples: Samples | None, ctx: Context
) -> None:
    """Write queries, keys and values of ``model`` in the bases that suit the samples, in place.

    Without samples all directions count alike.
    """
    statistics = _collect(model, attentions, samples, ctx)
    for attention, moments in zip(attentions, statistics, strict=True):
        if not rank_refusal(attention):
            _change_scores(attention, moments)
        if not value_refusal(attention):
            _change_values(attention, moments)


def _collect(
    model: ir.Model, attentions: Sequence[Attention], samples: Samples | None, ctx: Context
) -> list[Moments]:
    if samples is None:
        return [Moments(None, None, None) for _ in attentions]
    requests: dict[str, list[StatisticSpec]] = defaultdict(list)
    asked: list[list[tuple[str, int] | None]] = []
    for attention in attentions:
        places: list[tuple[str, int] | None] = []
        for request in _requests(attention):
            places.append(None if request is None else (request[0], len(requests[request[0]])))
            if request is not None:
                requests[request[0]].append(request[1])
        asked.append(places)
    sums = ctx.collect(model, requests, samples.take(SAMPLES), allow_nonfinite=True) if requests else {}
    return [
        Moments(
            *(
                None if place is None else getattr(sums[place[0]][place[1]], which)
                for place, which in zip(places, ("second", "second", "covariance"), strict=True)
            )
        )
        for places in asked
    ]


def _requests(attention: Attention) -> list[tuple[str, StatisticSpec] | None]:
    """The tensor and the statistic of queries, keys and results; None where nothing is wanted."""
    wanted: list[tuple[str, StatisticSpec] | None] = [None] * 3
    query, key, output = attention.query, attention.key, attention.output
    if not rank_refusal(attention) and query is not None and key is not None:
        wanted[0] = (query.source.name, _moments(query.columns, channel_axis(query.layer), False))
        wanted[1] = (key.source.name, _moments(key.columns, channel_axis(key.layer), True))
    if not value_refusal(attention) and output is not None:
        wanted[2] = (output.layer.inputs[0].name, _moments(output.rows, channel_axis(output.layer), False))
    return wanted


def _moments(columns: np.ndarray, axis: int, centred: bool) -> StatisticSpec:
    return StatisticSpec.of("head-moments", columns=HeadMoments.text_of(columns), axis=axis, centred=centred)


def channel_axis(layer: ir.Node) -> int:
    """Where the channels of what a layer reads and makes lie."""
    return 1 if layer.op.startswith("Conv") else -1


def _change_scores(attention: Attention, moments: Moments) -> None:
    query, key = attention.query, attention.key
    assert query is not None and key is not None
    if attention.is_plain:
        _set_bias(key, np.zeros(key.columns.shape))
    queries = _weight_moments(query) if moments.queries is None else moments.queries
    keys = _weight_moments(key) if moments.keys is None else moments.keys
    first, second, _ = score_bases(queries, keys)
    _multiply(query, first)
    _multiply(key, second)


def _weight_moments(projection: Projection) -> np.ndarray:
    """What the channels of heads have in common when all that the layer reads is white."""
    columns = _columns_of(projection)
    return np.einsum("nhs,nht->hst", columns, columns)


def _change_values(attention: Attention, moments: Moments) -> None:
    value, output = attention.value, attention.output
    assert value is not None and output is not None
    patches, matrix = layer_matrix(output.layer)
    taps = matrix.shape[0] // int(_inputs(output.layer))
    rows = output.rows[:, :, None] * taps + np.arange(taps)  # (heads, size, taps)
    weights = matrix[rows]  # (heads, size, taps, outputs)
    if attention.is_plain and taps == 1:
        _fold_value_bias(value, output, weights[:, :, 0])
    results = _weight_moments(value) if moments.results is None else moments.results
    basis, inverse = value_bases(results, weights.reshape(*weights.shape[:2], -1))
    _multiply(value, basis)
    matrix[rows] = np.einsum("hst,htko->hsko", inverse, weights)
    _store(output.layer, patches, matrix)


def _fold_value_bias(value: Projection, output: Reader, weights: np.ndarray) -> None:
    """Let the layer behind the heads add what the bias of the values comes to."""
    own, theirs = _bias(value), vector_bias(output.layer)
    if own is None or theirs is None or theirs.tensor.constant is None or theirs.values.ndim != 1:
        return
    if output.layer.op == "Gemm" or len(theirs.tensor.consumers) > 1:
        return  # alpha and beta would have to be minded
    shift = np.einsum("hs,hso->o", own, weights) * value.scale
    graph = theirs.node.graph
    assert graph is not None
    moved = theirs.values.astype(np.float64) + shift
    graph.set_constant(theirs.node, theirs.index, moved.astype(theirs.values.dtype))
    _set_bias(value, np.zeros(value.columns.shape))


def _multiply(projection: Projection, basis: np.ndarray) -> None:
    """Multiply the channels of each head with its basis, (heads, size, size)."""
    patches, matrix = layer_matrix(projection.layer)
    matrix[:, projection.columns] = np.einsum("nhs,hst->nht", matrix[:, projection.columns], basis)
    _store(projection.layer, patches, matrix)
    bias = _bias(projection)
    if bias is not None:
        _set_bias(projection, np.einsum("hs,hst->ht", bias, basis))


def _columns_of(projection: Projection) -> np.ndarray:
    return layer_matrix(projection.layer)[1][:, projection.columns]


def layer_matrix(layer: ir.Node) -> tuple[Patches, np.ndarray]:
    """The weights of a layer without groups as (inputs x kernel, outputs)."""
    patches, weight = Patches.of(layer), layer.inputs[1].constant
    assert isinstance(patches, Patches) and weight is not None
    return patches, patches.matrix(weight)[0].copy()


def _store(layer: ir.Node, patches: Patches, matrix: np.ndarray) -> None:
    weight = layer.inputs[1].constant
    assert weight is not None and layer.graph is not None
    layer.graph.set_constant(
        layer, 1, np.ascontiguousarray(patches.weight(matrix[None]).astype(weight.dtype))
    )


def _inputs(layer: ir.Node) -> int:
    """How many channels a layer without groups reads."""
    weight = layer.inputs[1].constant
    assert weight is not None
    if layer.op == "Gemm":
        return int(weight.shape[1 if layer.attr("transB", 0) else 0])
    return int(weight.shape[1 if layer.op == "Conv" else 0])


def _bias(projection: Projection) -> np.ndarray | None:
    """The biases of the channels of each head, (heads, size)."""
    place = vector_bias(projection.layer)
    if place is None:
        return None
    return place.values.astype(np.float64).reshape(-1)[projection.columns]


def _set_bias(projection: Projection, values: np.ndarray) -> None:
    place = vector_bias(projection.layer)
    if place is None:
        return
    bias = np.array(place.values, np.float64).reshape(-1)
    bias[projection.columns] = values
    assert place.node.graph is not None
    changed = bias.astype(place.values.dtype).reshape(place.values.shape)
    place.node.graph.set_constant(place.node, place.index, changed)
