"""Constant multiplications and additions, absorbed by the linear layer before or after them.

Shared by the passes that tidy up around layers.  What cannot be absorbed exactly is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphopt.ir.analysis.facts import Facts
from graphopt.ir.analysis.operators import is_padded
from graphopt.ir.declared import Shape
from graphopt.ir.graph import Node
from graphopt.ir.io.weights import Array
from graphopt.ir.tensor import Tensor
from graphopt.ir.transform.linear import LinearLayer, absorb_after, absorb_before, as_layer

OPERATORS = ("Mul", "Add", "Sub", "Div")


@dataclass(frozen=True)
class Affine:
    """A node that computes ``scale * source + shift`` with constants; None stands for one and zero."""

    source: Tensor
    scale: Array | None
    shift: Array | None


def _as_affine(node: Node) -> Affine | None:
    constants = [tensor.constant for tensor in node.inputs]
    if len(constants) != 2 or (constants[0] is None) == (constants[1] is None):
        return None
    place = 0 if constants[1] is None else 1
    constant, source = constants[place], node.inputs[1 - place]
    if constant.dtype.kind != "f":
        return None
    wide = constant.astype(np.float64)
    if node.op == "Mul":
        return Affine(source, wide, None)
    if node.op == "Add":
        return Affine(source, None, wide)
    if node.op == "Sub":
        return Affine(source, None, -wide) if place == 1 else Affine(source, np.array(-1.0), wide)
    return Affine(source, 1 / wide, None) if place == 1 and np.all(wide) else None


def absorb_into_layer_before(node: Node) -> str | None:
    """Let the layer whose output ``node`` scales or shifts do it; say which, or None when none can."""
    affine = _as_affine(node)
    layer = as_layer(affine.source.producer) if affine is not None and affine.source.is_private else None
    if affine is None or not isinstance(layer, LinearLayer) or layer.node.graph is not node.graph:
        return None
    if layer.node.op == "MatMul" and affine.shift is not None:
        return None
    scale, shift = (None if v is None else layer.per_channel(v) for v in (affine.scale, affine.shift))
    if (affine.scale is None) != (scale is None) or (affine.shift is None) != (shift is None):
        return None
    if not absorb_after(node.graph, layer, scale, shift):
        return None
    _drop(node, affine.source)
    return f"absorbed by {layer.node.name or layer.node.op} before it"


def absorb_into_layer_after(node: Node, facts: Callable[[], Facts]) -> str | None:
    """Let the layer that reads ``node`` scale or shift its input; say which, or None when none can.

    ``facts`` is asked only when a layer is there: it must tell that ``node`` does not widen its input.
    """
    affine = _as_affine(node)
    if affine is None or not node.output.is_private:
        return None
    reader = node.output.consumers[0]
    if (
        reader.op not in ("Conv", "Gemm")
        or reader.graph is not node.graph
        or reader.inputs[0] is not node.output
    ):
        return None
    if reader.attr("transA", 0) or (affine.shift is not None and is_padded(reader)):
        return None
    layer = as_layer(reader)
    if not isinstance(layer, LinearLayer):
        return None
    scale, shift = (_per_input(v, layer, facts().shape(affine.source)) for v in (affine.scale, affine.shift))
    if (affine.scale is None) != (scale is None) or (affine.shift is None) != (shift is None):
        return None
    channels = layer.input_channels
    scale = np.ones(channels) if scale is None else scale
    if not absorb_before(node.graph, layer, scale, np.zeros(channels) if shift is None else shift):
        return None
    _drop(node, affine.source)
    return f"absorbed by {reader.name or reader.op} after it"


def _per_input(constant: Array | None, layer: LinearLayer, shape: Shape | None) -> Array | None:
    """Return a constant as one number for each channel of a layer's input of shape ``shape``."""
    if constant is None or shape is None or len(shape) != layer.trailing + 2:
        return None
    axis = constant.ndim - 1 - layer.trailing
    others = [size for index, size in enumerate(constant.shape) if index != axis]
    if constant.ndim > len(shape) or any(size != 1 for size in others) or shape[1] != layer.input_channels:
        return None
    if constant.size not in (1, layer.input_channels):
        return None
    return np.broadcast_to(constant.ravel(), (layer.input_channels,))


def _drop(node: Node, source: Tensor) -> None:
    """Remove a node that now only hands ``source`` on."""
    node.inputs = [source]
    node.graph.bypass(node)
