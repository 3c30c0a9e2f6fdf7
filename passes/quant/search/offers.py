"""What ``quant`` offers to a search over all passes: each layer in 8 bits.

The noise of a layer is that of rounding what it reads and its weights, each evenly spread over a step
(W. R. Bennett, 1948), as a share of the variance of what it makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.calibration import StatisticSpec
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline.contract.moves import Effect, Move

from ..items import node_id

if TYPE_CHECKING:
    from graphopt.ir import Model, Node
    from graphopt.pipeline import Context

SAMPLES = 32  # time: that ranges and variances are estimated on
KERNEL = "int8"
UNIFORM = 12.0  # theory: a step's square over the variance of rounding to it
TINY = 1e-30  # fixed: so that what is relative to a variance stays finite


def moves(
    model: Model, layers: Mapping[Node, int | None], levels: int, limit: int, ctx: Context
) -> Iterator[Move]:
    """Each layer that can be stored as a move; ``levels`` of activations, ``limit`` of weights.

    ``layers`` have the axis along which their weights have scales of their own.
    """
    requests: dict[str, list[StatisticSpec | str]] = {}
    for node in layers:
        moments = StatisticSpec.of("channel-moments", axis=-1 if node.op == "MatMul" else 1)
        requests[node.inputs[0].name] = ["range", moments]
        requests.setdefault(node.output.name, ["range", moments])
    found = ctx.collect(model, requests, ctx.calibration.take(SAMPLES), allow_nonfinite=True)
    for node, axis in layers.items():
        yield Move(
            node_id(node),
            "layer",
            0.25,
            _noise(node, axis, found, levels, limit),
            (Effect(node_id(node), kernel=KERNEL),),
        )


def floats(every: Sequence[Move], taken: Sequence[Move]) -> list[str]:
    """The layers that stay float."""
    stored = {move.item for move in taken}
    return [move.item for move in every if move.item not in stored]


def parts(model: Model, every: Sequence[Move], stay: Sequence[str]) -> list[str]:
    """The layers that are new since the offer and lead to nothing but layers that stay float: parts of these.

    A pass before may have split a layer into several; the last makes the tensor that it is known by.
    """
    offered = {move.item for move in every}
    floating, new = set(stay), []
    for node in reversed(model.graph.nodes):
        if node.op in LAYERS and node.outputs and node_id(node) not in offered:
            consumers = node.output.consumers
            if consumers and all(one.outputs and node_id(one) in floating for one in consumers):
                floating.add(node_id(node))
                new.append(node_id(node))
    return new


def _noise(
    node: Node, axis: int | None, found: Mapping[str, Sequence[Any]], levels: int, limit: int
) -> float:
    """The variance of the noise that a layer's output gets, as a share of its own."""
    weight = node.inputs[1].constant
    assert weight is not None
    span, reads = found[node.inputs[0].name]
    _, makes = found[node.output.name]
    values = np.asarray(weight, np.float64)
    square = float(np.square(values).sum())
    step = (max(span.maximum, 0.0) - min(span.minimum, 0.0)) / levels if math.isfinite(span.absmax) else 0.0
    others = (
        tuple(range(values.ndim)) if axis is None else tuple({*range(values.ndim)} - {axis % values.ndim})
    )
    steps = np.abs(values).max(axis=others, keepdims=True) / limit
    each = values.size / steps.size
    mean_square = float(np.sum(reads.sum_of_squares) / max(float(np.sum(reads.count)), 1.0))
    rounded = square * step**2 / UNIFORM + each * float(np.square(steps).sum()) / UNIFORM * mean_square
    return rounded / (float(makes.variance.sum()) + TINY)
