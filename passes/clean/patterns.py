"""Activations that exporters spell out, as the one operator that means them.

A spelled-out activation is a product: ``x * clip(x + 3, 0, 6) / 6`` is HardSwish, the same without the
first x is HardSigmoid, ``x * sigmoid(x)`` is Swish, ``x * 0.5 * (1 + erf(x / sqrt 2))`` is Gelu.  The
factors come in any order and nesting, so the product is taken apart first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphopt.ir import Node, Tensor
from graphopt.passes.clean.rules import Rule, View

HARD_SWISH_SINCE, GELU_SINCE, SWISH_SINCE = 14, 20, 24
MAX_DEPTH = 4
TOLERANCE = 1e-6  # relative, of the constants: exporters write 1/6 and sqrt(2) in float32


@dataclass
class Product:
    """``coefficient`` times the product of ``factors``."""

    coefficient: float
    factors: list[Tensor]


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE)


def _scalar(tensor: Tensor | None, view: View) -> float | None:
    """The value of a constant that is one number."""
    value = view.constant(tensor)
    return float(value.ravel()[0]) if value is not None and value.size == 1 and value.ndim <= 1 else None


def _product(node: Node, view: View, depth: int = 0) -> Product:
    """Take a Mul, or a Div by a constant, apart."""
    divisor = _scalar(node.inputs[1], view) if node.op == "Div" else None
    if divisor:
        inner = _factor(node.inputs[0], view, depth)
        return Product(inner.coefficient / divisor, inner.factors)
    parts = [_factor(tensor, view, depth) for tensor in node.inputs]
    return Product(parts[0].coefficient * parts[1].coefficient, parts[0].factors + parts[1].factors)


def _factor(tensor: Tensor, view: View, depth: int) -> Product:
    number = _scalar(tensor, view)
    if number is not None:
        return Product(number, [])
    node = tensor.producer
    if node is None or not node.is_standard or not tensor.is_private or depth == MAX_DEPTH:
        return Product(1.0, [tensor])
    if node.op == "Mul" or (node.op == "Div" and _scalar(node.inputs[1], view)):
        return _product(node, view, depth + 1)
    return Product(1.0, [tensor])


@dataclass(frozen=True)
class Activation:
    """``op(source)``, times another tensor when ``times`` is given."""

    op: str
    source: Tensor
    attrs: Mapping[str, float | str] = field(default_factory=dict)
    times: Tensor | None = None


def _activation(node: Node, view: View) -> str | None:
    """Recognise the activation that this product ends, and write it as one operator."""
    if node.op == "Div" and not _scalar(node.inputs[1], view):
        return None
    product = _product(node, view)
    matches = (match(product, view) for match in (_hard_sigmoid, _hard_swish, _swish, _gelu))
    found = next((activation for activation in matches if activation is not None), None)
    if found is None or view.facts.dtype(node.output) != np.float32:
        return None  # runtimes have these operators for float32 alone
    _write(node, found)
    return f"a spelled-out {found.op} is one node"


def _write(node: Node, found: Activation) -> None:
    """Let the activation make what ``node`` makes; what fed only the node dies."""
    graph, result = node.graph, node.output
    name = node.name or None
    node.outputs.clear()
    if found.times is None:
        graph.add_node(found.op, [found.source], found.attrs, outputs=[result], name=name, like=node)
    else:
        gate = graph.add_node(found.op, [found.source], found.attrs, name=f"{name or node.op}.gate")
        graph.add_node("Mul", [found.times, gate.output], outputs=[result], name=name, like=node)
    graph.remove(node)


def _hard_sigmoid(product: Product, view: View) -> Activation | None:
    """u * clip(x + b, 0, h) / h = u * HardSigmoid(x), with or without u."""
    for place, tensor in enumerate(product.factors):
        found = _shifted_clip(tensor, view)
        if found is None or len(product.factors) > 2 or not _close(found[2] * product.coefficient, 1):
            continue
        source, shift, _ = found
        attrs = {"alpha": product.coefficient, "beta": shift * product.coefficient}
        others = product.factors[:place] + product.factors[place + 1 :]
        if others and view.model.opset >= HARD_SWISH_SINCE and others[0] is source and _is_swish(attrs):
            return Activation("HardSwish", source)
        return Activation("HardSigmoid", source, attrs, others[0] if others else None)
    return None


def _is_swish(attrs: dict[str, float]) -> bool:
    return _close(attrs["alpha"], 1 / 6) and _close(attrs["beta"], 0.5)


def _shifted_clip(tensor: Tensor, view: View) -> tuple[Tensor, float, float] | None:
    """Match clip(x + b, 0, h) and return (x, b, h)."""
    clip = tensor.producer
    if clip is None or clip.op != "Clip" or not clip.is_standard or not tensor.is_private:
        return None
    bounds = [clip.attr("min"), clip.attr("max")]
    if view.model.opset >= 11:
        bounds = [_scalar(clip.input(1), view), _scalar(clip.input(2), view)]
    add = clip.inputs[0].producer
    if bounds[0] != 0 or not bounds[1] or add is None or add.op != "Add" or not clip.inputs[0].is_private:
        return None
    for place in (0, 1):
        shift = _scalar(add.inputs[place], view)
        if shift is not None:
            return add.inputs[1 - place], shift, float(bounds[1])
    return None


def _hard_swish(product: Product, view: View) -> Activation | None:
    """x * HardSigmoid(x) with alpha 1/6 and beta 1/2."""
    gate = _gate(product, "HardSigmoid")
    if gate is None or view.model.opset < HARD_SWISH_SINCE:
        return None
    if not _is_swish({"alpha": gate.attr("alpha", 0.2), "beta": gate.attr("beta", 0.5)}):
        return None
    return Activation("HardSwish", gate.inputs[0])


def _swish(product: Product, view: View) -> Activation | None:
    """x * Sigmoid(x)."""
    gate = _gate(product, "Sigmoid")
    return None if gate is None or view.model.opset < SWISH_SINCE else Activation("Swish", gate.inputs[0])


def _gate(product: Product, op: str) -> Node | None:
    """Match x * op(x) and return the node of type ``op``."""
    if product.coefficient != 1 or len(product.factors) != 2:
        return None
    for source, gate in (product.factors, product.factors[::-1]):
        node = gate.producer
        if node is None or node.op != op or not node.is_standard:
            continue
        if gate.is_private and node.inputs[0] is source:
            return node
    return None


def _gelu(product: Product, view: View) -> Activation | None:
    """x * 0.5 * (1 + erf(x / sqrt 2)), or tanh(sqrt(2 / pi) (x + 0.044715 x^3)) in place of erf."""
    if view.model.opset < GELU_SINCE or not _close(product.coefficient, 0.5) or len(product.factors) != 2:
        return None
    for source, gate in (product.factors, product.factors[::-1]):
        kind = _gelu_gate(gate, source, view)
        if kind is not None:
            return Activation("Gelu", source, {"approximate": kind})
    return None


def _gelu_gate(gate: Tensor, source: Tensor, view: View) -> str | None:
    """Match 1 + erf(...) or 1 + tanh(...) of ``source``; return the name of the approximation."""
    inner = _plus(gate, 1.0, view)
    if inner is None:
        return None
    node = inner.producer
    if node is None or not node.is_standard or node.op not in ("Erf", "Tanh") or not inner.is_private:
        return None
    argument = _factor(node.inputs[0], view, 0)
    if len(argument.factors) != 1:
        return None
    if node.op == "Erf":
        return (
            "none" if argument.factors[0] is source and _close(argument.coefficient, math.sqrt(0.5)) else None
        )
    if not _close(argument.coefficient, math.sqrt(2 / math.pi)):
        return None
    return "tanh" if _is_cubic(argument.factors[0], source, view) else None


def _plus(tensor: Tensor, number: float, view: View) -> Tensor | None:
    """Match ``y + number`` and return y."""
    add = tensor.producer
    if add is None or add.op != "Add" or not add.is_standard or not tensor.is_private:
        return None
    for place in (0, 1):
        constant = _scalar(add.inputs[place], view)
        if constant is not None and _close(constant, number):
            return add.inputs[1 - place]
    return None


def _is_cubic(tensor: Tensor, source: Tensor, view: View) -> bool:
    """Match x + 0.044715 x^3."""
    add = tensor.producer
    if add is None or add.op != "Add" or not tensor.is_private or not any(t is source for t in add.inputs):
        return False
    other = add.inputs[1] if add.inputs[0] is source else add.inputs[0]
    term = _factor(other, view, 0)
    if not _close(term.coefficient, 0.044715):
        return False
    if len(term.factors) == 3:
        return all(t is source for t in term.factors)
    power = term.factors[0].producer if len(term.factors) == 1 else None
    return bool(
        power is not None
        and power.op == "Pow"
        and power.inputs[0] is source
        and _scalar(power.inputs[1], view) == 3
    )


PATTERN_RULES: dict[str, list[Rule]] = {"Mul": [_activation], "Div": [_activation]}
