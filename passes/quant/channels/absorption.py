"""Move what channels always hold into the biases of the layers that read them: less is left to be stored.

A channel that is never below c > 0 stays on the straight part of its Relu: the layer that makes it can
subtract c from its bias, and its readers add what c would have given them (M. Nagel et al., 2019, section
4.1.3).  Without a Relu between, c is the middle of the channel's range, and the function stays the same
whatever comes.  Nothing is moved into a layer that pads: at its border there is no c.  Nor is anything moved
through means over the image: they have one value a sample, and a range without its constant part would hold
too little of what no sample has shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import calibration, ir
from graphopt.ir.analysis.operators import is_padded

from ..calibration.thresholds import LEVELS
from ..items import AbsorbItem, node_id
from .chains import Chain, Reader, Shapes, between, chains, matched, place, tensors_of

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Array, Graph, Node
    from graphopt.pipeline import Context

BENT = ("Relu", "LeakyRelu")
OVER_ALL = ("GlobalAveragePool", "GlobalMaxPool")
NARROWER = 1.0 - 1.0 / LEVELS  # of the range of the whole tensor: one step of it


def absorb(graph: Graph, items: Sequence[AbsorbItem], shapes: Shapes) -> list[str]:
    """Carry out items and name the tensors that hold something else then.

    Raises PassError for an item whose layer is not there or whose readers pad.
    """
    wanted = {item.node: item.amounts for item in items}
    pairs = matched(_movable(graph, shapes), wanted, "moves") if wanted else []
    for chain in pairs:
        _move(graph, chain, np.array(wanted[node_id(chain.source)]))
    return tensors_of(pairs)


def by_ranges(model: ir.Model, shapes: Shapes, samples: Samples, ctx: Context) -> list[AbsorbItem]:
    """What channels always hold on samples, where the range of the tensor gets narrower without it."""
    pairs = list(_movable(model.graph, shapes))
    requests = {chain.seen.name: [calibration.ChannelRange] for chain in pairs}
    results = ctx.collect(model, requests, samples, allow_nonfinite=True) if pairs else {}
    items = []
    for chain in pairs:
        (span,) = results[chain.seen.name]
        if span.nonfinite:
            continue  # measuring ranges names the first such tensor
        amounts = _amounts(span.low, span.high, is_bent=_is_bent(chain))
        if _width(span.low - amounts, span.high - amounts) < NARROWER * _width(span.low, span.high):
            items.append(AbsorbItem(node_id(chain.source), tuple(float(np.float32(a)) for a in amounts)))
    return items


def _amounts(low: Array, high: Array, *, is_bent: bool) -> Array:
    """The constant part of each channel; 0 for one that was never finite."""
    finite = np.isfinite(low) & np.isfinite(high)
    amounts = np.maximum(low, 0.0) if is_bent else (low + high) / 2
    return np.where(finite, amounts, 0.0)


def _width(low: Array, high: Array) -> float:
    """The range of a tensor that is made to contain zero."""
    finite = np.isfinite(low) & np.isfinite(high)
    return float(high[finite].max(initial=0.0) - low[finite].min(initial=0.0))


def _movable(graph: Graph, shapes: Shapes) -> Iterator[Chain]:
    """Chains in which all that stands between and reads commutes with adding a constant."""
    for chain in chains(graph, shapes):
        if all(map(_hands_on, between(chain.source.output))) and all(
            _takes_in(r.node) for r in chain.readers
        ):
            yield chain


def _hands_on(node: Node) -> bool:
    """Whether a constant passes through as it is; an average with a border would thin it out."""
    if node.op == "AveragePool":
        return not (is_padded(node) or node.attr("ceil_mode", 0))
    return node.op not in OVER_ALL


def _takes_in(node: Node) -> bool:
    """Whether a constant input of a layer is a constant output."""
    return node.op == "Gemm" or (node.op == "Conv" and not is_padded(node))


def _is_bent(chain: Chain) -> bool:
    return any(node.op in BENT for node in between(chain.source.output))


def _move(graph: Graph, chain: Chain, amounts: Array) -> None:
    """Subtract from what makes the channels, add to what reads them."""
    _add_to_bias(graph, chain.source, -amounts)
    for reader in chain.readers:
        _add_to_bias(graph, reader.node, _given(reader, amounts))


def _given(reader: Reader, amounts: Array) -> Array:
    """What constant channels add to each output of their reader, (outputs,)."""
    node = reader.node
    axis, taken, times = place(reader, len(amounts))
    weight = node.inputs[1].constant.astype(np.float64)
    whole = np.zeros(weight.shape[axis])
    whole[taken] = np.repeat(amounts, times)
    if node.op == "Gemm":
        return float(node.attr("alpha", 1.0)) * np.tensordot(whole, weight, axes=(0, axis))
    over = weight.sum(axis=tuple(range(2, weight.ndim)))  # (outputs, inputs of a group)
    return whole * over[:, 0] if axis == 0 else over @ whole


def _add_to_bias(graph: Graph, node: Node, values: Array) -> None:
    old = node.input(2)
    present = None if old is None else old.constant
    bias = values if present is None else values + present.astype(np.float64)
    graph.set_constant(node, 2, bias.astype(np.float32))
