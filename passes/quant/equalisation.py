"""Give the channels of a tensor similar sizes, so that one scale fits them all; the function stays the same.

Between a layer and the layers that read it stand only operators that commute with positive factors (ReLU,
pooling, ...): its output channels are multiplied by s_c, and the inputs of its readers divided by it
(M. Nagel et al., 2019).  A bounded activation such as ReLU6 ends the search: a factor would move
its bound.  So do sums with another branch and outputs of the model.

``activations`` raises channel c by (largest maximum / its maximum) ** 0.5 on the calibration samples;
``weights`` gives what a channel is made of and what reads it the same largest weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir, stats
from graphopt.errors import PassError

from .items import EqualiseItem, node_id

if TYPE_CHECKING:
    from graphopt.ir import Array, Graph, Node, Tensor
    from graphopt.pipeline import Context

MODES = ("activations", "weights")
EXPONENT = 0.5  # with 1 all channels would be equal, and the weights that read them far from it
LARGEST = 64.0  # factor; more would move the trouble into the weights
DEAD = 1e-5  # of the largest channel; what never gets larger is left alone
ROUNDS = 20  # over all layers, until the weights' factors stand still
STILL = 1e-3
COMMUTING = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "Dropout",
    }
)
Shapes = Mapping[str, "tuple[int, ...]"]


@dataclass(frozen=True)
class Reader:
    """A layer that reads the channels from input ``start`` on, ``repeat`` inputs for each."""

    node: Node
    start: int
    repeat: int


@dataclass(frozen=True)
class Chain:
    """A layer whose output channels can be rescaled, and all that reads them; ``seen`` is what they read."""

    source: Node
    seen: Tensor
    readers: tuple[Reader, ...]


def known_shapes(model: ir.Model, ctx: Context) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors that are known for the samples of the run."""
    found = {}
    for name, shape in ir.infer_shapes(model, dict(ctx.shapes)).items():
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) == len(shape):
            found[name] = sizes
    return found


def chains(graph: Graph, shapes: Shapes) -> Iterator[Chain]:
    """The layers whose outputs can be rescaled."""
    for node in graph.find("Conv", "Gemm"):
        if not _can_be_scaled(node):
            continue
        found = list(_readers(node.output, 0, 1, graph, shapes))
        if found and None not in found:
            readers = tuple(reader for reader in found if reader is not None)
            yield Chain(node, _seen(node), readers)


def equalise(graph: Graph, items: Sequence[EqualiseItem], shapes: Shapes) -> None:
    """Carry out items.  Raises PassError for one whose layer is not there or cannot be rescaled."""
    by_name = {node_id(chain.source): chain for chain in chains(graph, shapes)} if items else {}
    for item in items:
        chain = by_name.get(item.node)
        if chain is None or _channels(chain.source) != len(item.factors):
            raise PassError(
                f"the plan rescales the channels of {item.node}, which the model does not allow",
                hint="make the plan anew for this model",
                pass_name="quant",
            )
        _scale(graph, chain, np.array(item.factors))


def by_activations(model: ir.Model, shapes: Shapes, ctx: Context) -> list[EqualiseItem]:
    """Factors from the largest absolute value of each channel on the calibration samples."""
    found = list(chains(model.graph, shapes))
    results = ctx.collect(model, {chain.seen.name: [stats.ChannelPeaks] for chain in found}) if found else {}
    items = []
    for chain in found:
        peaks = results[chain.seen.name][0].peaks
        largest = peaks.max(initial=0.0)
        alive = peaks > DEAD * largest
        factors = np.where(alive, (largest / np.where(alive, peaks, 1.0)) ** EXPONENT, 1.0)
        items.append(_item(chain, np.clip(factors, 1.0, LARGEST)))
    return [item for item in items if max(item.factors) > 1.0 + STILL]


def by_weights(model: ir.Model, shapes: Shapes) -> list[EqualiseItem]:
    """Factors that make the largest weights before and behind each channel equal; ``model`` is rescaled."""
    found = list(chains(model.graph, shapes))
    totals = [np.ones(_channels(chain.source)) for chain in found]
    for _ in range(ROUNDS):
        change = 0.0
        for chain, total in zip(found, totals, strict=True):
            before, behind = _largest(chain)
            usable = (before > 1e-8) & (behind > 1e-8)
            wanted = np.sqrt(np.where(usable, behind, 1.0) / np.where(usable, before, 1.0))
            factors = np.clip(total * wanted, 1.0 / LARGEST, LARGEST) / total
            _scale(model.graph, chain, factors)
            total *= factors
            change = max(change, float(np.abs(factors - 1.0).max(initial=0.0)))
        if change < STILL:
            break
    return [_item(chain, total) for chain, total in zip(found, totals, strict=True)]


def _item(chain: Chain, factors: Array) -> EqualiseItem:
    return EqualiseItem(node_id(chain.source), tuple(float(np.float32(factor)) for factor in factors))


def _readers(
    tensor: Tensor, start: int, repeat: int, graph: Graph, shapes: Shapes
) -> Iterator[Reader | None]:
    """What reads a tensor, through what commutes with factors; None for a reader that does not."""
    if graph.is_output(tensor):
        yield None
    for node in dict.fromkeys(tensor.consumers):
        if not node.is_standard or node.graph is not graph:
            yield None
        elif node.op in ("Conv", "Gemm", "MatMul"):
            fits = list(node.inputs).count(tensor) == 1 and node.inputs[0] is tensor and _can_be_scaled(node)
            yield Reader(node, start, repeat) if fits and _reads_by_channel(node) else None
        elif node.op in COMMUTING and len([out for out in node.outputs if out.name]) == 1:
            yield from _readers(node.output, start, repeat, graph, shapes)
        elif node.op == "Concat" and node.attr("axis", 0) == 1 and list(node.inputs).count(tensor) == 1:
            before = [shapes.get(t.name, ()) for t in node.inputs[: list(node.inputs).index(tensor)]]
            if any(len(shape) < 2 for shape in before):
                yield None
            else:
                offset = repeat * sum(shape[1] for shape in before)
                yield from _readers(node.output, start + offset, repeat, graph, shapes)
        elif node.op == "Flatten" and node.attr("axis", 1) == 1 and len(shapes.get(tensor.name, ())) >= 2:
            inner = int(np.prod(shapes[tensor.name][2:]))
            yield from _readers(node.output, start * inner, repeat * inner, graph, shapes)
        else:
            yield None


def _can_be_scaled(node: Node) -> bool:
    weight = node.inputs[1].constant
    if weight is None or weight.dtype != np.float32 or len(node.inputs[1].consumers) > 1:
        return False
    if node.op == "MatMul":
        return weight.ndim == 2
    if node.op == "Gemm" and (node.attr("transA", 0) or node.attr("beta", 1.0) != 1.0):
        return False
    bias = node.input(2)
    return bias is None or (
        bias.constant is not None and bias.constant.shape == (_channels(node),) and len(bias.consumers) == 1
    )


def _reads_by_channel(node: Node) -> bool:
    if node.op != "Conv":
        return True
    group, weight = int(node.attr("group", 1)), node.inputs[1].constant
    return group == 1 or weight.shape[1] == 1


def _channels(node: Node) -> int:
    return int(node.inputs[1].constant.shape[_own_axis(node)])


def _seen(node: Node) -> Tensor:
    """The tensor behind the activation of a layer."""
    reader = node.output.consumers[0] if node.output.is_private else None
    return reader.output if reader is not None and reader.op in ("Relu", "LeakyRelu") else node.output


def _place(reader: Reader, channels: int) -> tuple[int, slice, int]:
    """The axis of the reader's weight, its entries that belong to the channels, and how many to each."""
    weight, group = reader.node.inputs[1].constant, int(reader.node.attr("group", 1))
    if reader.node.op == "Conv" and group > 1:  # depthwise: each input channel has its own outputs
        times = reader.repeat * (weight.shape[0] // group)
        return 0, slice(reader.start * times, (reader.start + channels) * times), times
    axis = 1 if reader.node.op == "Conv" or reader.node.attr("transB", 0) else 0
    return axis, slice(reader.start, reader.start + channels * reader.repeat), reader.repeat


def _by_input(reader: Reader, channels: int) -> Array:
    """The sizes of the reader's weights, (channels, everything that one channel is multiplied with)."""
    axis, taken, _ = _place(reader, channels)
    moved = np.moveaxis(reader.node.inputs[1].constant, axis, 0)[taken]
    return np.abs(moved).reshape(channels, -1)


def _own_axis(node: Node) -> int:
    """The axis of a weight that counts the output channels."""
    return 0 if node.op == "Conv" or node.attr("transB", 0) else 1


def _largest(chain: Chain) -> tuple[Array, Array]:
    """The largest weights that make each channel, and that read it."""
    channels = _channels(chain.source)
    weight = np.moveaxis(chain.source.inputs[1].constant, _own_axis(chain.source), 0)
    made = np.abs(weight).reshape(channels, -1).max(axis=1)
    read = np.max([_by_input(reader, channels).max(axis=1) for reader in chain.readers], axis=0)
    return made.astype(np.float64), read.astype(np.float64)


def _scale(graph: Graph, chain: Chain, factors: Array) -> None:
    """Multiply what makes the channels, divide what reads them."""
    source = chain.source
    made = source.inputs[1].constant.astype(np.float64)
    made = made * _along(factors, _own_axis(source), made.ndim)
    graph.set_constant(source, 1, made.astype(np.float32))
    if source.input(2) is not None:
        graph.set_constant(source, 2, (source.inputs[2].constant * factors).astype(np.float32))
    for reader in chain.readers:
        axis, taken, times = _place(reader, len(factors))
        read = reader.node.inputs[1].constant.astype(np.float64)
        inverse = np.ones(read.shape[axis])
        inverse[taken] = np.repeat(1.0 / factors, times)
        graph.set_constant(reader.node, 1, (read * _along(inverse, axis, read.ndim)).astype(np.float32))


def _along(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape([-1 if number == axis else 1 for number in range(ndim)])
