"""Constant multiplications and additions, absorbed by the layer before or after them, or joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array, Node, Tensor
from graphopt.ir.linear import LinearLayer, absorb_after, absorb_before, as_layer, is_padded
from graphopt.passes.clean.rules import Rule, View


@dataclass(frozen=True)
class Affine:
    """A node that computes ``scale * source + shift`` with constants; None stands for one and zero."""

    source: Tensor
    scale: Array | None
    shift: Array | None


def _as_affine(node: Node, view: View) -> Affine | None:
    constants = [view.constant(tensor) for tensor in node.inputs]
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


def _into_layer_before(node: Node, view: View) -> str | None:
    affine = _as_affine(node, view)
    layer = as_layer(affine.source.producer) if affine is not None and affine.source.is_private else None
    if affine is None or not isinstance(layer, LinearLayer) or layer.node.graph is not node.graph:
        return None
    if layer.node.op == "MatMul" and affine.shift is not None:
        return None
    scale, shift = (None if v is None else layer.per_channel(v) for v in (affine.scale, affine.shift))
    if (affine.scale is None) != (scale is None) or (affine.shift is None) != (shift is None):
        return None
    absorb_after(node.graph, layer, scale, shift)
    _drop(node, affine.source)
    return f"absorbed by {layer.node.name or layer.node.op} before it"


def _into_layer_after(node: Node, view: View) -> str | None:
    affine = _as_affine(node, view)
    if affine is None or not node.output.is_private:
        return None
    reader = node.output.consumers[0]
    if reader.op not in ("Conv", "Gemm") or reader.graph is not node.graph or reader.inputs[0] is not node.output:
        return None
    if reader.attr("transA", 0) or (affine.shift is not None and is_padded(reader)):
        return None
    layer = as_layer(reader)
    if not isinstance(layer, LinearLayer):
        return None
    scale, shift = (_per_input(v, layer, affine.source, view) for v in (affine.scale, affine.shift))
    if (affine.scale is None) != (scale is None) or (affine.shift is None) != (shift is None):
        return None
    channels = layer.input_channels
    absorb_before(
        node.graph,
        layer,
        np.ones(channels) if scale is None else scale,
        np.zeros(channels) if shift is None else shift,
    )
    _drop(node, affine.source)
    return f"absorbed by {reader.name or reader.op} after it"


def _per_input(constant: Array | None, layer: LinearLayer, source: Tensor, view: View) -> Array | None:
    """Return a constant as one number for each channel that ``layer`` reads from ``source``."""
    shape = view.facts.shape(source)
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


def _join(node: Node, view: View) -> str | None:
    """(x * a) * b = x * (a b), and the same for sums, when the joined constant is no larger."""
    outer = _constant_operand(node, view)
    first = outer[0].producer if outer is not None else None
    if outer is None or first is None or first.op != node.op or first.graph is not node.graph:
        return None
    inner = _constant_operand(first, view)
    if inner is None or not outer[0].is_private or not first.is_standard:
        return None
    combine = np.multiply if node.op == "Mul" else np.add
    try:
        joined = combine(inner[1].astype(np.float64), outer[1].astype(np.float64))
    except ValueError:  # the shapes broadcast only through x
        return None
    if joined.size > max(inner[1].size, outer[1].size):
        return None
    title = f"{node.name or node.op}.joined"
    node.inputs = [inner[0], node.graph.add_constant(title, joined.astype(inner[1].dtype))]
    return f"joined with the {node.op} before it"


def _constant_operand(node: Node, view: View) -> tuple[Tensor, Array] | None:
    """The other operand and the floating-point constant of a binary node."""
    for place in (0, 1):
        constant = view.constant(node.inputs[place])
        if constant is not None and constant.dtype.kind == "f":
            return node.inputs[1 - place], constant
    return None


_ABSORB: list[Rule] = [_into_layer_before, _into_layer_after]
AFFINE_RULES: dict[str, list[Rule]] = {
    "Mul": [*_ABSORB, _join],
    "Add": [*_ABSORB, _join],
    "Sub": _ABSORB,
    "Div": _ABSORB,
}
