"""Activations that exporters spell out, as the one operator that means them or as runtimes fuse them.

A spelled-out activation is a product: ``x * clip(x + 3, 0, 6) / 6`` is HardSwish, the same without the
first x is HardSigmoid, ``x * 0.5 * (1 + erf(x / sqrt 2))`` is Gelu.  The factors come in any order and
nesting, so the product is taken apart first.

Swish, an operator since opset 24, is never written: runtimes fuse ``x * sigmoid(x)``, and onnxruntime 1.32
runs the operator at opset 24 alone, in twice the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphopt.ir import Node, Tensor
from graphopt.passes.clean.rules.base import Rule, View
from graphopt.passes.clean.rules.products import Product, close, factor_of, plus, product_of, scalar

HARD_SWISH_SINCE, GELU_SINCE = 14, 20  # fixed: opsets of the operators


@dataclass(frozen=True)
class Activation:
    """``op(source)``, times another tensor when ``times`` is given; ``gate`` is Gelu's 1 + erf(...)."""

    op: str
    source: Tensor
    attrs: Mapping[str, float | str] = field(default_factory=dict)
    times: Tensor | None = None
    gate: Tensor | None = None


def _activation(node: Node, view: View) -> str | None:
    """Recognise the activation that this product ends, and write it as one operator."""
    if node.op == "Div" and not scalar(node.inputs[1], view):
        return None
    product = product_of(node, view)
    matches = (match(product, view) for match in (_hard_sigmoid, _hard_swish, gelu))
    activation = next((match for match in matches if match is not None), None)
    if activation is None or not _is_plain(activation.source, node, view):
        return None
    if activation.op == "Gelu" and view.model.opset < GELU_SINCE:
        return _write_fusible_gelu(node, activation)
    _write(node, activation)
    return f"a spelled-out {activation.op} is one node"


def _is_plain(source: Tensor, node: Node, view: View) -> bool:
    """Whether the operators exist for the type, which runtimes have for float32 alone, and keep the rank.

    A number stored as a vector of one would widen a source without axes.
    """
    return view.facts.dtype(node.output) == np.float32 and view.facts.rank(source) != 0


def _write(node: Node, activation: Activation) -> None:
    """Let the activation make what ``node`` makes; what fed only the node dies."""
    graph, result = node.graph, node.output
    name = node.name or None
    node.outputs.clear()
    if activation.times is None:
        graph.add_node(
            activation.op, [activation.source], activation.attrs, outputs=[result], name=name, like=node
        )
    else:
        gate = graph.add_node(
            activation.op, [activation.source], activation.attrs, name=f"{name or node.op}.gate"
        )
        graph.add_node("Mul", [activation.times, gate.output], outputs=[result], name=name, like=node)
    graph.remove(node)


def _hard_sigmoid(product: Product, view: View) -> Activation | None:
    """u * clip(x + b, 0, h) / h = u * HardSigmoid(x), with or without u."""
    for place, tensor in enumerate(product.factors):
        clip = _shifted_clip(tensor, view)
        if clip is None or len(product.factors) > 2 or not close(clip[2] * product.coefficient, 1):
            continue
        source, shift, _ = clip
        attrs = {"alpha": product.coefficient, "beta": shift * product.coefficient}
        others = product.factors[:place] + product.factors[place + 1 :]
        if others and view.model.opset >= HARD_SWISH_SINCE and others[0] is source and _is_swish(attrs):
            return Activation("HardSwish", source)
        return Activation("HardSigmoid", source, attrs, others[0] if others else None)
    return None


def _is_swish(attrs: dict[str, float]) -> bool:
    return close(attrs["alpha"], 1 / 6) and close(attrs["beta"], 0.5)


def _shifted_clip(tensor: Tensor, view: View) -> tuple[Tensor, float, float] | None:
    """Match clip(x + b, 0, h) and return (x, b, h)."""
    clip = tensor.producer
    if clip is None or clip.op != "Clip" or not clip.is_standard or not tensor.is_private:
        return None
    bounds = [clip.attr("min"), clip.attr("max")]
    if view.model.opset >= 11:
        bounds = [scalar(clip.input(1), view), scalar(clip.input(2), view)]
    add = clip.inputs[0].producer
    if bounds[0] != 0 or not bounds[1] or add is None or add.op != "Add" or not clip.inputs[0].is_private:
        return None
    for place in (0, 1):
        shift = scalar(add.inputs[place], view)
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


def gelu(product: Product, view: View) -> Activation | None:
    """x * 0.5 * (1 + erf(x / sqrt 2)), or tanh(sqrt(2 / pi) (x + 0.044715 x^3)) in place of erf."""
    if not close(product.coefficient, 0.5) or len(product.factors) != 2:
        return None
    for source, gate in (product.factors, product.factors[::-1]):
        kind = _gelu_gate(gate, source, view)
        if kind is not None:
            return Activation("Gelu", source, {"approximate": kind}, gate=gate)
    return None


def _write_fusible_gelu(node: Node, activation: Activation) -> str | None:
    """Spell Gelu as x * (1 + erf(x / sqrt 2)) * 0.5 where onnxruntime does not fuse its spelling.

    It fuses what divides by sqrt 2 and has one half as the first or the last factor.
    """
    if activation.attrs["approximate"] != "none" or activation.gate is None:
        return None
    if _is_fusible_gelu(node, activation.source, activation.gate):
        return None
    graph, result, source = node.graph, node.output, activation.source
    title = node.name or "Gelu"
    root, one, half = (
        graph.add_constant(f"{title}.{role}", np.array(value, np.float32))
        for role, value in (("sqrt2", math.sqrt(2)), ("one", 1), ("half", 0.5))
    )
    node.outputs.clear()
    scaled = graph.add_node("Div", [source, root], name=f"{title}.div")
    error = graph.add_node("Erf", [scaled.output], name=f"{title}.erf")
    gate = graph.add_node("Add", [error.output, one], name=f"{title}.add")
    gated = graph.add_node("Mul", [source, gate.output], name=f"{title}.gate")
    graph.add_node("Mul", [gated.output, half], outputs=[result], name=node.name or None, like=node)
    graph.remove(node)
    return "a spelled-out Gelu is spelled as runtimes fuse it"


def _is_fusible_gelu(node: Node, source: Tensor, gate: Tensor) -> bool:
    """Whether the argument of Erf is a quotient, and the gate is multiplied by what is no number."""
    add, gated = gate.producer, gate.consumers[0]
    erf = next((t.producer for t in add.inputs if t.producer is not None), None) if add is not None else None
    argument = erf.inputs[0].producer if erf is not None else None
    if argument is None or argument.op != "Div" or argument.inputs[0] is not source:
        return False
    other = gated.inputs[1] if gated.inputs[0] is gate else gated.inputs[0]
    if gated is node:  # (x * 0.5) * gate
        return other.producer is not None and other.producer.op == "Mul" and source in other.producer.inputs
    return other is source and node.op == "Mul" and gated.output in node.inputs  # (x * gate) * 0.5


def _gelu_gate(gate: Tensor, source: Tensor, view: View) -> str | None:
    """Match 1 + erf(...) or 1 + tanh(...) of ``source``; return the name of the approximation."""
    inner = plus(gate, 1.0, view)
    if inner is None:
        return None
    node = inner.producer
    if node is None or not node.is_standard or node.op not in ("Erf", "Tanh") or not inner.is_private:
        return None
    argument = factor_of(node.inputs[0], view)
    if len(argument.factors) != 1:
        return None
    if node.op == "Erf":
        return (
            "none" if argument.factors[0] is source and close(argument.coefficient, math.sqrt(0.5)) else None
        )
    if not close(argument.coefficient, math.sqrt(2 / math.pi)):
        return None
    return "tanh" if _is_cubic(argument.factors[0], source, view) else None


def _is_cubic(tensor: Tensor, source: Tensor, view: View) -> bool:
    """Match x + 0.044715 x^3."""
    add = tensor.producer
    if add is None or add.op != "Add" or not tensor.is_private or not any(t is source for t in add.inputs):
        return False
    other = add.inputs[1] if add.inputs[0] is source else add.inputs[0]
    term = factor_of(other, view)
    if not close(term.coefficient, 0.044715):
        return False
    if len(term.factors) == 3:
        return all(t is source for t in term.factors)
    power = term.factors[0].producer if len(term.factors) == 1 else None
    return bool(
        power is not None
        and power.op == "Pow"
        and power.inputs[0] is source
        and scalar(power.inputs[1], view) == 3
    )


PATTERN_RULES: dict[str, list[Rule]] = {"Mul": [_activation], "Div": [_activation]}
