"""Shift and scale what a LayerNormalization hands to matrices, so that one scale and zero point fit it.

Its channels keep the sizes of its scale and bias, whatever the samples: a few of them can be tens of times as
large as the rest, and all others lose their bits.  Channel j becomes (y_j - m_j) / s_j: the norm's scale is
divided by s, its bias becomes (bias - m) / s, the rows of what reads it are multiplied by s, and its biases
take m @ W.  The function stays the same.

m is the middle of the channel's range, or 0 where a reader has no bias to take the shift, and
s = a^alpha / w^(1 - alpha), a being half the width of the range around m and w the largest weight that reads
the channel.  alpha = 1 is Z. Li et al., RepQ-ViT, 2023; m = 0 is G. Xiao et al., SmoothQuant, 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.calibration import StatisticSpec
from graphopt.errors import PassError
from graphopt.ir.transform.layer_bias import vector_bias

from ..items import NormItem, node_id

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.data import Samples
    from graphopt.ir import Array, Graph, Node
    from graphopt.pipeline import Context

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # theory: from what weights alone want to what activations alone want
# noise: of the largest: what is smaller is zero in 8 bits beside it, and says nothing of its channel
LEAST = 2.0**-16


@dataclass(frozen=True)
class Norm:
    """A LayerNormalization over the last axis, and the matrices that alone read its values."""

    node: Node
    readers: tuple[Node, ...]

    @property
    def width(self) -> int:
        """How many channels it has."""
        return int(self.node.inputs[1].constant.size)

    @property
    def can_shift(self) -> bool:
        """Whether every reader has a bias, or room for one."""
        return all(reader.op == "Gemm" or vector_bias(reader) is not None for reader in self.readers)


def norms(graph: Graph) -> Iterator[Norm]:
    """The normalisations whose channels can be changed: matrices read them, whose biases can take a shift."""
    for node in graph.find("LayerNormalization"):
        readers = tuple(reader for reader in dict.fromkeys(node.output.consumers) if reader.op != "Shape")
        is_own = node.is_standard and node.graph is graph and _has_parameters(node)
        if is_own and readers and not graph.is_output(node.output) and all(map(_takes_in, readers)):
            norm = Norm(node, readers)
            if all(_rows(reader, norm.width) is not None for reader in readers):
                yield norm


def shift_and_scale(graph: Graph, items: Iterable[NormItem]) -> list[str]:
    """Carry out items and name the tensors that hold something else then.

    Raises PassError for an item whose normalisation is not there or cannot be changed.
    """
    by_name: dict[str, Norm] = {}
    changed = []
    for item in items:
        by_name = by_name or {node_id(norm.node): norm for norm in norms(graph)}
        norm = by_name.get(item.node)
        if norm is None or not norm.width == len(item.factors) == len(item.middles):
            raise PassError(
                f"the plan shifts and scales the channels of {item.node}, which the model does not allow",
                hint="make a new plan for this model",
                pass_name="quant",
            )
        _carry_out(graph, norm, np.array(item.factors), np.array(item.middles))
        changed.append(norm.node.output.name)
    return changed


def by_alpha(
    model: ir.Model, alphas: Sequence[float], samples: Samples, ctx: Context
) -> Iterator[list[NormItem]]:
    """The items for each alpha, from the ranges of channels on samples."""
    all_norms = list(norms(model.graph))
    spec = StatisticSpec.of("channel-moments", axis=-1)
    requests = {norm.node.output.name: [spec] for norm in all_norms}
    results = ctx.collect(model, requests, samples, allow_nonfinite=True) if all_norms else {}
    spans = [(norm, results[norm.node.output.name][0]) for norm in all_norms]
    usable = [(norm, span.minimum, span.maximum) for norm, span in spans if not span.nonfinite]
    for alpha in alphas:
        yield [_item(norm, low, high, alpha) for norm, low, high in usable]


def _item(norm: Norm, low: Array, high: Array, alpha: float) -> NormItem:
    """The shift and the factors of one normalisation; ``low`` and ``high`` are (channels,)."""
    middles = (high + low) / 2 if norm.can_shift else np.zeros(norm.width)
    sizes = _floored(np.maximum(high - middles, middles - low)) ** alpha
    weights = _floored(np.max([_largest_rows(r, norm.width) for r in norm.readers], axis=0)) ** (1 - alpha)
    factors = sizes / weights
    factors /= np.exp(np.log(factors).mean())  # the size of the tensor stays about the same
    return NormItem(node_id(norm.node), _floats(factors), _floats(middles))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


def _floored(values: Array) -> Array:
    """Values not far below the largest; all ones where none is above zero."""
    largest = float(values.max(initial=0.0))
    return np.maximum(values, LEAST * largest) if largest > 0 else np.ones(len(values))


def _carry_out(graph: Graph, norm: Norm, factors: Array, middles: Array) -> None:
    node = norm.node
    scale, bias = node.inputs[1].constant.astype(np.float64), node.input(2)
    values = None if bias is None else bias.constant
    old = np.zeros(norm.width) if values is None else values.astype(np.float64)
    graph.set_constant(node, 1, (scale / factors).astype(np.float32))
    graph.set_constant(node, 2, ((old - middles) / factors).astype(np.float32))
    for reader in norm.readers:
        weight = _rows(reader, norm.width)
        assert weight is not None  # norms() asks
        _add_to_bias(graph, reader, middles @ weight)
        scaled = (weight * factors[:, None]).astype(np.float32)
        graph.set_constant(reader, 1, scaled.T if _is_transposed(reader) else scaled)


def _add_to_bias(graph: Graph, reader: Node, values: Array) -> None:
    """Add numbers by output to what a matrix adds."""
    bias = vector_bias(reader)
    if bias is not None:
        new = bias.values.astype(np.float64).ravel() + values
        graph.set_constant(bias.node, bias.index, new.reshape(bias.values.shape).astype(np.float32))
    elif np.any(values):  # of a Gemm without one, since shifts need a place
        graph.set_constant(reader, 2, values.astype(np.float32))


def _has_parameters(node: Node) -> bool:
    """Whether scale and bias are constants of one axis, the last."""
    if len([t for t in node.outputs if t.name]) != 1 or node.attr("axis", -1) != -1:
        return False
    scale, bias = node.inputs[1].constant, node.input(2)
    if scale is None or scale.ndim != 1 or scale.dtype != np.float32 or not np.isfinite(scale).all():
        return False
    if bias is None:
        return True
    values = bias.constant
    return values is not None and values.shape == scale.shape and bool(np.isfinite(values).all())


def _takes_in(reader: Node) -> bool:
    """Whether a node is a product with a matrix of its own, to which a constant input adds a constant."""
    if not reader.is_standard or reader.op not in ("MatMul", "Gemm") or len(reader.inputs) < 2:
        return False
    weight = reader.inputs[1].constant
    if weight is None or weight.dtype != np.float32 or weight.ndim != 2 or not np.isfinite(weight).all():
        return False
    if reader.op == "MatMul":
        return True
    plain = reader.attr("alpha", 1.0) == 1.0 and reader.attr("beta", 1.0) == 1.0
    bias = reader.input(2)
    has_vector = bias is None or (bias.constant is not None and bias.constant.shape == (_outputs(reader),))
    return plain and not reader.attr("transA", 0) and has_vector


def _is_transposed(reader: Node) -> bool:
    return reader.op == "Gemm" and bool(reader.attr("transB", 0))


def _outputs(reader: Node) -> int:
    return int(reader.inputs[1].constant.shape[0 if _is_transposed(reader) else 1])


def _rows(reader: Node, width: int) -> Array | None:
    """The weight of a reader as (inputs, outputs) in float64, None when it does not read all channels."""
    weight = reader.inputs[1].constant.astype(np.float64)
    weight = weight.T if _is_transposed(reader) else weight
    return weight if weight.shape[0] == width else None


def _largest_rows(reader: Node, width: int) -> Array:
    """The largest weight that reads each channel, (channels,)."""
    weight = _rows(reader, width)
    assert weight is not None  # norms() asks
    return np.abs(weight).max(axis=1)
