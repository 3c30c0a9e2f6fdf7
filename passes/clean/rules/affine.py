"""Constant multiplications and additions: absorbed by a layer next to them, or joined."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, Node, Tensor
from graphopt.ir.transform.affine import OPERATORS, absorb_into_layer_after, absorb_into_layer_before
from graphopt.ir.transform.linear import fits
from graphopt.passes.clean.rules.base import Rule, View


def _before(node: Node, view: View) -> str | None:
    return absorb_into_layer_before(node)


def _after(node: Node, view: View) -> str | None:
    return absorb_into_layer_after(node, lambda: view.facts)


def _join(node: Node, view: View) -> str | None:
    """(x * a) * b = x * (a b), and the same for sums, when the joined constant is no larger."""
    outer = _constant_operand(node, view)
    first = outer[0].producer if outer is not None else None
    if outer is None or first is None or first.op != node.op or first.graph is not node.graph:
        return None
    inner = _constant_operand(first, view)
    if inner is None or not outer[0].is_private or not first.is_standard or first in view.fused:
        return None
    if _is_matmul_bias(first, inner[0]) and outer[1].ndim > 1:
        return None
    combine = np.multiply if node.op == "Mul" else np.add
    try:
        joined = combine(inner[1].astype(np.float64), outer[1].astype(np.float64))
    except ValueError:  # the shapes broadcast only through x
        return None
    if joined.size > max(inner[1].size, outer[1].size) or not fits(joined, inner[1].dtype):
        return None
    title = f"{node.name or node.op}.joined"
    node.inputs = [inner[0], node.graph.add_constant(title, joined.astype(inner[1].dtype))]
    return f"joined with the {node.op} before it"


def _is_matmul_bias(node: Node, source: Tensor) -> bool:
    """Whether a runtime makes a Gemm of the MatMul before an Add: it takes a bias of one axis."""
    return node.op == "Add" and source.producer is not None and source.producer.op == "MatMul"


def _constant_operand(node: Node, view: View) -> tuple[Tensor, Array] | None:
    """The other operand and the floating-point constant of a binary node."""
    for place in (0, 1):
        constant = view.constant(node.inputs[place])
        if constant is not None and constant.dtype.kind == "f":
            return node.inputs[1 - place], constant
    return None


AFFINE_RULES: dict[str, list[Rule]] = {op: [_before, _after] for op in OPERATORS}
for _joined in ("Mul", "Add"):
    AFFINE_RULES[_joined].append(_join)
