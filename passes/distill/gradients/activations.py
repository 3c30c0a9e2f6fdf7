"""Activations without a gradient, written with operators that have one."""

from __future__ import annotations

from graphopt.ir import Node, Tensor

from ..graph.builder import Builder


def hard_sigmoid(node: Node, to: Builder) -> Tensor:
    """Clip(alpha x + beta, 0, 1)."""
    scaled = to.op("Mul", node.inputs[0], float(node.attr("alpha", 0.2)))
    return to.op("Clip", to.op("Add", scaled, float(node.attr("beta", 0.5))), 0.0, 1.0)


def hard_swish(node: Node, to: Builder) -> Tensor:
    """x Clip(x / 6 + 1 / 2, 0, 1)."""
    x = node.inputs[0]
    gate = to.op("Clip", to.op("Add", to.op("Mul", x, 1 / 6), 0.5), 0.0, 1.0)
    return to.op("Mul", x, gate)


def prelu(node: Node, to: Builder) -> Tensor:
    """Relu(x) - slope Relu(-x)."""
    x, slope = node.inputs[:2]
    below = to.op("Relu", to.op("Neg", x))
    return to.op("Sub", to.op("Relu", x), to.op("Mul", below, slope))


def softplus(node: Node, to: Builder) -> Tensor:
    """Relu(x) + log(1 + exp(-|x|)), which does not overflow."""
    return _softplus(node.inputs[0], to)


def mish(node: Node, to: Builder) -> Tensor:
    """x tanh(softplus(x))."""
    x = node.inputs[0]
    return to.op("Mul", x, to.op("Tanh", _softplus(x, to)))


def softsign(node: Node, to: Builder) -> Tensor:
    """x / (1 + |x|)."""
    x = node.inputs[0]
    return to.op("Div", x, to.op("Add", to.op("Abs", x), 1.0))


def elu(node: Node, to: Builder) -> Tensor:
    """Relu(x) + alpha (exp(-Relu(-x)) - 1)."""
    return _elu(node.inputs[0], float(node.attr("alpha", 1.0)), to)


def selu(node: Node, to: Builder) -> Tensor:
    """gamma elu(x) with alpha."""
    alpha = float(node.attr("alpha", 1.6732631921768188))
    return to.op("Mul", _elu(node.inputs[0], alpha, to), float(node.attr("gamma", 1.0507010221481323)))


def celu(node: Node, to: Builder) -> Tensor:
    """alpha elu(x / alpha)."""
    alpha = float(node.attr("alpha", 1.0))
    return to.op("Mul", _elu(to.op("Mul", node.inputs[0], 1 / alpha), 1.0, to), alpha)


def thresholded_relu(node: Node, to: Builder) -> Tensor:
    """x where x > alpha, else 0."""
    x = node.inputs[0]
    return to.op("Where", to.op("Greater", x, float(node.attr("alpha", 1.0))), x, 0.0)


def gelu(node: Node, to: Builder) -> Tensor:
    """x (1 + erf(x / sqrt 2)) / 2, or its approximation by tanh."""
    x = node.inputs[0]
    if node.attr("approximate", "none") == "tanh":
        cube = to.op("Mul", to.op("Mul", x, x), to.op("Mul", x, 0.044715))
        inner = to.op("Tanh", to.op("Mul", to.op("Add", x, cube), 0.7978845608028654))
    else:
        inner = to.op("Erf", to.op("Mul", x, 0.7071067811865476))
    return to.op("Mul", to.op("Mul", x, 0.5), to.op("Add", inner, 1.0))


def _softplus(x: Tensor, to: Builder) -> Tensor:
    decay = to.op("Exp", to.op("Neg", to.op("Abs", x)))
    return to.op("Add", to.op("Relu", x), to.op("Log", to.op("Add", decay, 1.0)))


def _elu(x: Tensor, alpha: float, to: Builder) -> Tensor:
    below = to.op("Exp", to.op("Neg", to.op("Relu", to.op("Neg", x))))
    return to.op("Add", to.op("Relu", x), to.op("Mul", to.op("Sub", below, 1.0), alpha))


ACTIVATIONS = {
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "PRelu": prelu,
    "Softplus": softplus,
    "Mish": mish,
    "Softsign": softsign,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "ThresholdedRelu": thresholded_relu,
    "Gelu": gelu,
}
