"""Nodes whose output equals their input."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node, Tensor
from graphopt.ir.analysis.constants import axes_of, slice_bounds
from graphopt.passes.clean.rules.base import Rule, View

NO_LIMIT = 2**31 - 1  # fixed: exporters write this, or more, for "to the end"


def _bypass(node: Node, what: str) -> str | None:
    return what if node.graph.bypass(node) else None


def _identity(node: Node, view: View) -> str | None:
    return _bypass(node, "an identity")


def _dropout(node: Node, view: View) -> str | None:
    """Inference-mode Dropout; its mask must not be read."""
    if any(t.name and (t.outputs or node.graph.is_output(t)) for t in node.outputs[1:]):
        return None
    training = view.constant(node.input(2))
    if node.input(2) is not None and (training is None or training.any()):
        return None
    if view.model.opset < 7 and not node.attr("is_test", 0):
        return None
    return _bypass(node, "a dropout, which does nothing at inference")


def _cast(node: Node, view: View) -> str | None:
    before, after = view.facts.dtype(node.inputs[0]), view.facts.dtype(node.output)
    return _bypass(node, "a cast to the type it has") if before is not None and before == after else None


def _same_shape(node: Node, view: View) -> str | None:
    """Reshape, Expand, Flatten, Squeeze ... to the shape that is there; the type is the same anyway."""
    if not view.same_shape(node.inputs[0], node.output):
        return None
    return _bypass(node, f"a {node.op.lower()} to the shape it has")


def _reshape(node: Node, view: View) -> str | None:
    """A Reshape whose sizes are those of its input, all but one of which it may leave open."""
    sizes, shape = view.constant(node.input(1)), view.facts.shape(node.inputs[0])
    if sizes is None or shape is None or sizes.size != len(shape) or node.attr("allowzero", 0):
        return None
    copied = [size == 0 or size == dim for size, dim in zip(sizes.tolist(), shape, strict=True)]
    if copied.count(False) > 1 or any(
        not same and size != -1 for same, size in zip(copied, sizes, strict=True)
    ):
        return None
    return _bypass(node, "a reshape to the shape it has")


def _transpose(node: Node, view: View) -> str | None:
    perm = node.attr("perm")
    if perm is None or list(perm) != sorted(perm):
        return None
    return _bypass(node, "a transpose that keeps the order")


def _pad(node: Node, view: View) -> str | None:
    pads = node.attr("pads") if "pads" in node.attrs else view.constant(node.input(1))
    if pads is None or np.any(pads):
        return None
    return _bypass(node, "a pad by nothing")


def _slice(node: Node, view: View) -> str | None:
    bounds = slice_bounds(node, [view.constant(node.input(i)) for i in range(len(node.inputs))])
    if bounds is None:
        return None
    shape = view.facts.shape(node.inputs[0])
    for axis, (start, end, step) in bounds.items():
        size = shape[axis] if shape is not None else None
        whole = end >= NO_LIMIT or (isinstance(size, int) and end >= size)
        if start != 0 or step != 1 or not whole:
            return None
    return _bypass(node, "a slice of everything")


def _single(node: Node, view: View) -> str | None:
    return _bypass(node, f"a {node.op.lower()} of one") if len(node.inputs) == 1 else None


def _resize(node: Node, view: View) -> str | None:
    scales = view.constant(node.input(2 if node.op == "Resize" and view.model.opset >= 11 else 1))
    if scales is None or scales.size == 0 or np.any(scales != 1):
        return None
    if node.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return None  # it cuts a part out
    return _bypass(node, "a resize by one")


# The neutral element of an operator, and the inputs that may hold it.
NEUTRAL = {"Add": (0, (0, 1)), "Sub": (0, (1,)), "Mul": (1, (0, 1)), "Div": (1, (1,)), "Pow": (1, (1,))}


def _neutral(node: Node, view: View) -> str | None:
    """Adding zero, multiplying by one: only where the constant does not widen the other operand."""
    number, places = NEUTRAL[node.op]
    for place in places:
        constant, other = view.constant(node.inputs[place]), node.inputs[1 - place]
        if constant is None or constant.dtype.kind not in "fiu" or np.any(constant != number):
            continue
        if not _keeps_shape(node, constant, other, view):
            continue
        if place == 0:
            node.inputs = [other, node.inputs[0]]
        return _bypass(node, f"{node.op} of {number}")
    return None


def _keeps_shape(node: Node, constant: np.ndarray, other: Tensor, view: View) -> bool:
    if constant.size == 1:
        rank = view.facts.rank(other)
        return constant.ndim == 0 or (rank is not None and constant.ndim <= rank)
    return view.same_shape(other, node.output)


def _pool(node: Node, view: View) -> str | None:
    """A pooling window of one that neither moves nor pads."""
    ones = [*node.attrs["kernel_shape"], *node.attr("strides", []), *node.attr("dilations", [])]
    if any(size != 1 for size in ones) or any(node.attr("pads", [])) or len(node.outputs) > 1:
        return None
    return _bypass(node, "a pool over one position")


def _axes_pair(node: Node, view: View) -> str | None:
    """Squeeze after Unsqueeze of the same axes, or the other way round."""
    before = node.inputs[0].producer
    opposite = {"Squeeze": "Unsqueeze", "Unsqueeze": "Squeeze"}[node.op]
    if before is None or before.op != opposite or not before.is_standard:
        return None
    first, second = (axes_of(n, [None, view.constant(n.input(1))]) for n in (before, node))
    rank = view.facts.rank(before.inputs[0])
    if first is None or second is None or rank is None:
        return None
    wide = rank if opposite == "Squeeze" else rank + len(first)
    if sorted(a % wide for a in first) != sorted(a % wide for a in second):
        return None
    source = before.inputs[0]
    if node.graph.is_output(node.output):
        return None
    node.graph.replace_uses(node.output, source)
    node.graph.remove(node)
    return f"undoes the {opposite.lower()} before it"


NOOP_RULES: dict[str, list[Rule]] = {
    "Identity": [_identity],
    "Dropout": [_dropout],
    "Cast": [_cast],
    "CastLike": [_cast],
    "Reshape": [_same_shape, _reshape],
    "Flatten": [_same_shape],
    "Expand": [_same_shape],
    "Squeeze": [_same_shape, _axes_pair],
    "Unsqueeze": [_same_shape, _axes_pair],
    "Tile": [_same_shape],
    "Transpose": [_transpose],
    "Pad": [_pad],
    "Slice": [_slice],
    "Concat": [_single],
    "Sum": [_single],
    "Max": [_single],
    "Min": [_single],
    "Mean": [_single],
    "Resize": [_resize],
    "Upsample": [_resize],
    "AveragePool": [_pool],
    "MaxPool": [_pool],
    **{op: [_neutral] for op in NEUTRAL},
}
