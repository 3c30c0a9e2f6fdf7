"""Give the channels of a tensor similar sizes, so that one scale fits them all; the function stays the same.

The output channels of a layer are multiplied by s_c, and the inputs of the layers that read it divided by it
(M. Nagel et al., 2019, section 4.1); ``chains`` tells where that is possible.

``activations`` raises channel c by (largest maximum / its maximum) ** 0.5 on the calibration samples;
``weights`` gives what a channel is made of and what reads it the same largest weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import calibration, ir

from ..calibration.thresholds import LEVELS
from ..items import EqualiseItem, node_id
from .chains import Chain, Reader, Shapes, chains, channels_of, matched, own_axis, place, tensors_of

if TYPE_CHECKING:
    from graphopt.ir import Array, Graph
    from graphopt.pipeline import Context

MODES = ("activations", "weights")
# theory: activations and weights share what there is to even out, as in SmoothQuant (G. Xiao et al., 2023);
# with 1 all channels would be equal, and the weights that read them far from it
EXPONENT = 0.5
# of the largest channel: what a factor leaves below half a step of the common scale is zero once stored, so
# it is left alone
DEAD = (2.0 * LEVELS) ** (-1.0 / (1.0 - EXPONENT))
ROUNDS = 20  # time: over all layers, until the weights' factors stand still
STILL = 1e-3  # noise: relative change of a factor that no 8-bit scale can show


def equalise(graph: Graph, items: Sequence[EqualiseItem], shapes: Shapes) -> list[str]:
    """Carry out items and name the tensors that hold something else then.

    Raises PassError for an item whose layer is not there or cannot be rescaled.
    """
    wanted = {item.node: item.factors for item in items}
    pairs = matched(chains(graph, shapes), wanted, "rescales") if wanted else []
    for chain in pairs:
        _scale(graph, chain, np.array(wanted[node_id(chain.source)]))
    return tensors_of(pairs)


def by_activations(model: ir.Model, shapes: Shapes, ctx: Context) -> list[EqualiseItem]:
    """Factors from the largest absolute value of each channel on the calibration samples."""
    pairs = list(chains(model.graph, shapes))
    requests = {chain.seen.name: [calibration.ChannelRange] for chain in pairs}
    results = ctx.collect(model, requests) if requests else {}
    items = []
    for chain in pairs:
        peaks = results[chain.seen.name][0].peaks
        largest = peaks.max(initial=0.0)
        alive = peaks > DEAD * largest
        factors = np.where(alive, (largest / np.where(alive, peaks, 1.0)) ** EXPONENT, 1.0)
        items.append(_item(chain, factors))
    return [item for item in items if max(item.factors) > 1.0 + STILL]


def by_weights(model: ir.Model, shapes: Shapes) -> list[EqualiseItem]:
    """Factors that make the largest weights before and behind each channel equal; ``model`` is rescaled."""
    pairs = list(chains(model.graph, shapes))
    totals = [np.ones(channels_of(chain.source)) for chain in pairs]
    for _ in range(ROUNDS):
        change = 0.0
        for chain, total in zip(pairs, totals, strict=True):
            before, behind = _largest(chain)
            usable = _are_alive(before) & _are_alive(behind)
            wanted = np.sqrt(np.where(usable, behind, 1.0) / np.where(usable, before, 1.0))
            _scale(model.graph, chain, wanted)
            total *= wanted
            change = max(change, float(np.abs(wanted - 1.0).max(initial=0.0)))
        if change < STILL:
            break
    return [_item(chain, total) for chain, total in zip(pairs, totals, strict=True)]


def _are_alive(largest: Array) -> Array:
    """Which channels have weights beside those of the largest."""
    alive: Array = largest > DEAD * largest.max(initial=0.0)
    return alive


def _item(chain: Chain, factors: Array) -> EqualiseItem:
    return EqualiseItem(node_id(chain.source), tuple(float(np.float32(factor)) for factor in factors))


def _by_input(reader: Reader, channels: int) -> Array:
    """The sizes of the reader's weights, (channels, everything that one channel is multiplied with)."""
    axis, taken, _ = place(reader, channels)
    moved = np.moveaxis(reader.node.inputs[1].constant, axis, 0)[taken]
    return np.abs(moved).reshape(channels, -1)


def _largest(chain: Chain) -> tuple[Array, Array]:
    """The largest weights that make each channel, and that read it."""
    channels = channels_of(chain.source)
    weight = np.moveaxis(chain.source.inputs[1].constant, own_axis(chain.source), 0)
    made = np.abs(weight).reshape(channels, -1).max(axis=1)
    read = np.max([_by_input(reader, channels).max(axis=1) for reader in chain.readers], axis=0)
    return made.astype(np.float64), read.astype(np.float64)


def _scale(graph: Graph, chain: Chain, factors: Array) -> None:
    """Multiply what makes the channels, divide what reads them."""
    source = chain.source
    made = source.inputs[1].constant.astype(np.float64)
    made = made * _along(factors, own_axis(source), made.ndim)
    graph.set_constant(source, 1, made.astype(np.float32))
    if source.input(2) is not None:
        graph.set_constant(source, 2, (source.inputs[2].constant * factors).astype(np.float32))
    for reader in chain.readers:
        axis, taken, times = place(reader, len(factors))
        read = reader.node.inputs[1].constant.astype(np.float64)
        inverse = np.ones(read.shape[axis])
        inverse[taken] = np.repeat(1.0 / factors, times)
        graph.set_constant(reader.node, 1, (read * _along(inverse, axis, read.ndim)).astype(np.float32))


def _along(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape([-1 if number == axis else 1 for number in range(ndim)])
