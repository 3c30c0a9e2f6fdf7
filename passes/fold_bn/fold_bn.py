"""Fold BatchNormalization into a linear layer next to it.

At inference a BatchNormalization is one affine map per channel::

    y = scale * x + shift        scale = gamma / sqrt(var + epsilon)      shift = beta - scale * mean

The linear layer before it absorbs the map into its weight and bias; else the layer after it does, where
nothing is padded (a padding zero would have to be shifted too) or the shift is zero.  Else it stays: a
multiplication and an addition take a runtime twice the time.  Passes that prune, quantize or convert want
them all the same (``lone``), because every backend quantizes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from graphopt.ir import Array, Model, Node, Tensor
from graphopt.ir.analysis.facts import Facts, gather_facts
from graphopt.ir.analysis.operators import is_padded
from graphopt.ir.transform.affine import OPERATORS, absorb_into_layer_before
from graphopt.ir.transform.linear import (
    LinearLayer,
    absorb_after,
    absorb_before,
    as_layer,
    biased_matmul,
    fits,
)
from graphopt.pipeline import Context, Contract, Pass, option

READERS = ("Conv", "Gemm", "MatMul")  # layers that can take over the map of their input
NOTE = "batch_norm"  # gamma and beta of folded normalisations, for data-free passes of the same run


@dataclass(frozen=True)
class FoldBN(Pass):
    """Fold each BatchNormalization into the layer before or after it."""

    name: ClassVar[str] = "fold-bn"
    contract: ClassVar[Contract] = Contract.EXACT

    lone: bool = option(
        False,
        "write a BatchNormalization that no layer absorbs as Mul and Add, which passes that change layers or "
        "types read and a float runtime takes longer for",
    )

    @property
    def is_for_speed(self) -> bool:
        """Unless it prepares for other passes or runtimes."""
        return not self.lone

    def run(self, model: Model, ctx: Context) -> None:
        """Fold what can be folded and say of every other BatchNormalization why it stays."""
        nodes = [bn for graph in model.graphs() for bn in graph.find("BatchNormalization")]
        facts = cache(lambda: gather_facts(model))  # few graphs need any
        for bn in nodes:
            title = bn.name or bn.output.name
            if reason := _refusal(bn, model.opset):
                ctx.skipped(title, reason)
            elif done := self._fold(bn, ChannelMap.of(bn), facts, ctx):
                ctx.changed(title, done)
        for graph in model.graphs():
            graph.remove_unused_initializers()

    def _fold(self, bn: Node, channels: ChannelMap, facts: Callable[[], Facts], ctx: Context) -> str | None:
        """Fold one BatchNormalization and say how; None when it had to stay."""
        title = bn.name or bn.output.name
        before = _layer_before(bn, channels, facts)
        if isinstance(before, LinearLayer):
            if _fold_into_producer(bn, before, channels, ctx):
                return f"folded into {before.node.name or before.node.op}"
            before = (
                f"the weights of {before.node.name or before.node.op} would leave the range of their type"
            )
        after = _layer_after(bn, channels, facts)
        if isinstance(after, LinearLayer):
            if _fold_into_consumer(bn, after, channels):
                return f"folded into {after.node.name or after.node.op} after it"
            after = f"those of {after.node.name or after.node.op} after it would too"
        reason = f"{before}, and {after}"
        rank, dtype = facts().rank(bn.inputs[0]), facts().dtype(bn.inputs[0])
        if not self.lone or rank is None or rank < 2 or dtype is None or not channels.fits(dtype):
            ctx.skipped(title, reason)
            return None
        _write_out(bn, channels, rank, dtype)
        return f"written as Mul and Add: {reason}"


@dataclass(frozen=True)
class ChannelMap:
    """What a BatchNormalization does to each channel; float64 arrays of shape (channels,)."""

    scale: Array
    shift: Array
    gamma: Array
    beta: Array

    def fits(self, dtype: np.dtype[Any]) -> bool:
        """Whether scale and shift are finite in a floating-point type."""
        return fits(self.scale, dtype) and fits(self.shift, dtype)

    @classmethod
    def of(cls, bn: Node) -> ChannelMap:
        """Read the map of a node whose parameters are constants."""
        gamma, beta, mean, var = (t.constant.astype(np.float64) for t in bn.inputs[1:5])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gamma / np.sqrt(var + bn.attr("epsilon", 1e-5))
        return cls(scale, beta - scale * mean, gamma, beta)


def _refusal(bn: Node, opset: int) -> str | None:
    """Say why ``bn`` is no fixed map per channel, or None when it is."""
    if bn.attr("training_mode", 0) or (opset < 7 and not bn.attr("is_test", 0)):
        return "it runs in training mode"
    if any(tensor.name for tensor in bn.outputs[1:]):  # before opset 14 this is what training mode means
        return "it outputs running statistics, as in training"
    if not bn.attr("spatial", 1):
        return "it normalises every position on its own (spatial=0)"
    for tensor in bn.inputs[1:5]:
        if tensor.constant is None:
            return f"{tensor.name} can change at run time"
    return None


def _layer_before(bn: Node, channels: ChannelMap, facts: Callable[[], Facts]) -> LinearLayer | str:
    """Return the layer that can absorb ``bn``'s map after it, or why there is none."""
    source = bn.inputs[0]
    layer = biased_matmul(source.producer) or as_layer(source.producer)
    if isinstance(layer, str):
        return layer
    if not source.is_private:
        return f"{source.name} is read elsewhere or is a model output"
    if layer.node.op == "MatMul" and (layer.adder is None or facts().rank(source) != 2):
        return "the MatMul before it has no bias per channel that could take the shift"
    if layer.channels != channels.scale.size:
        return f"its channels are not those that {layer.node.name or layer.node.op} makes"
    return layer


def _layer_after(bn: Node, channels: ChannelMap, facts: Callable[[], Facts]) -> LinearLayer | str:
    """Return the layer that can absorb ``bn``'s map before it, or why there is none."""
    if not bn.output.is_private:
        return f"{bn.output.name} has several consumers or is a model output"
    node = bn.output.consumers[0]
    if node.graph is not bn.graph or node.op not in READERS or node.inputs[0] is not bn.output:
        return "no layer reads it that could"
    if node.op == "Gemm" and node.attr("transA", 0):
        return f"{node.name} reads it transposed"
    if np.any(channels.shift) and is_padded(node):
        return f"{node.name} pads its input, and the padding would have to be shifted too"
    if node.op == "MatMul" and facts().rank(bn.inputs[0]) != 2:
        return f"the channels of {node.name} are not the axis that it normalises"
    layer = as_layer(node)
    if isinstance(layer, LinearLayer) and layer.input_channels != channels.scale.size:
        return f"its channels are not those that {node.name or node.op} reads"
    return layer


def _fold_into_producer(bn: Node, layer: LinearLayer, channels: ChannelMap, ctx: Context) -> bool:
    if not absorb_after(bn.graph, layer, channels.scale, channels.shift):
        return False
    bn.graph.bypass(bn)
    _absorb_constants(layer.result)
    notes = ctx.notes.setdefault(NOTE, {})
    notes[layer.result.name] = {"gamma": np.abs(channels.gamma), "beta": channels.beta}
    return True


def _absorb_constants(result: Tensor) -> None:
    """Absorb constant multiplications and additions that the normalisation kept from its layer."""
    while result.is_private and result.consumers[0].op in OPERATORS:
        if not absorb_into_layer_before(result.consumers[0]):
            break


def _fold_into_consumer(bn: Node, layer: LinearLayer, channels: ChannelMap) -> bool:
    return absorb_before(bn.graph, layer, channels.scale, channels.shift) and bn.graph.bypass(bn)


def _write_out(bn: Node, channels: ChannelMap, rank: int, dtype: np.dtype) -> None:
    """Replace ``bn`` by a multiplication and an addition with constants of shape (channels, 1, ...)."""
    graph, source, result = bn.graph, bn.inputs[0], bn.output
    title = bn.name or result.name
    shape = (-1, *(1,) * (rank - 2))
    bn.outputs.clear()
    scale = graph.add_constant(f"{title}.scale", channels.scale.astype(dtype).reshape(shape))
    product = graph.add_node("Mul", [source, scale], name=f"{title}.mul", like=bn)
    shift = graph.add_constant(f"{title}.shift", channels.shift.astype(dtype).reshape(shape))
    graph.add_node("Add", [product.output, shift], outputs=[result], name=f"{title}.add", like=bn)
    graph.remove(bn)
