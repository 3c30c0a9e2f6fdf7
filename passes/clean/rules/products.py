"""Products of tensors and numbers, taken apart: what spelled-out activations are recognised by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphopt.ir import Node, Tensor
from graphopt.passes.clean.rules.base import View

MAX_DEPTH = 4  # fixed: operators that the activations consist of, one behind the other
TOLERANCE = 1e-6  # fixed: relative, of constants that exporters write in float32, such as 1/6 and sqrt(2)


@dataclass
class Product:
    """``coefficient`` times the product of ``factors``."""

    coefficient: float
    factors: list[Tensor]


def close(a: float, b: float) -> bool:
    """Whether two constants of an activation are the same number."""
    return math.isclose(a, b, rel_tol=TOLERANCE)


def scalar(tensor: Tensor | None, view: View) -> float | None:
    """The value of a constant that is one number."""
    value = view.constant(tensor)
    if value is None or value.size != 1 or value.ndim > 1 or value.dtype.kind not in "fiu":
        return None
    return float(value.ravel()[0])


def product_of(node: Node, view: View, depth: int = 0) -> Product:
    """Take a Mul, or a Div by a constant, apart."""
    divisor = scalar(node.inputs[1], view) if node.op == "Div" else None
    if divisor:
        inner = factor_of(node.inputs[0], view, depth)
        return Product(inner.coefficient / divisor, inner.factors)
    parts = [factor_of(tensor, view, depth) for tensor in node.inputs]
    return Product(parts[0].coefficient * parts[1].coefficient, parts[0].factors + parts[1].factors)


def factor_of(tensor: Tensor, view: View, depth: int = 0) -> Product:
    """Take apart what makes a factor of a product, as far as nobody else reads it."""
    number = scalar(tensor, view)
    if number is not None:
        return Product(number, [])
    node = tensor.producer
    if node is None or not node.is_standard or not tensor.is_private or depth == MAX_DEPTH:
        return Product(1.0, [tensor])
    if node.op == "Mul" or (node.op == "Div" and scalar(node.inputs[1], view)):
        return product_of(node, view, depth + 1)
    return Product(1.0, [tensor])


def plus(tensor: Tensor, number: float, view: View) -> Tensor | None:
    """Match ``y + number`` and return y."""
    add = tensor.producer
    if add is None or add.op != "Add" or not add.is_standard or not tensor.is_private:
        return None
    for place in (0, 1):
        constant = scalar(add.inputs[place], view)
        if constant is not None and close(constant, number):
            return add.inputs[1 - place]
    return None
