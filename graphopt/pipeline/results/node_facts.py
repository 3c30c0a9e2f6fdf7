"""What the nodes of a model are made of: attributes, tensor names, and what their weights hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from graphopt.cost.static.parameters import dequantised
from graphopt.ir import Constant
from graphopt.record.layers import NodeFacts, WeightFacts

if TYPE_CHECKING:
    from graphopt.ir import Node, Tensor

MOST_ELEMENTS = 2**28  # time: weights of a model that are looked at; half a second a gigabyte
BLOCK = 2**20  # memory: elements in float64 at a time
LONGEST_VALUE = 120  # shown: letters of an attribute


def node_facts(nodes: Iterable[Node]) -> list[NodeFacts]:
    """The facts of each node, in order; weights beyond ``MOST_ELEMENTS`` have no statistics."""
    statistics = _Statistics()
    return [
        NodeFacts(
            inputs=tuple(tensor.name for tensor in node.inputs),
            outputs=tuple(tensor.name for tensor in node.outputs),
            attributes={str(name): _text(value) for name, value in node.attrs.items()},
            weights=tuple(statistics.of(weight) for weight in _weights(node)),
        )
        for node in nodes
    ]


def _weights(node: Node) -> list[Tensor]:
    """The constants that a node reads, those behind a DequantizeLinear as they are stored."""
    stored = (dequantised(tensor) for tensor in node.inputs)
    return [tensor for tensor in stored if isinstance(tensor, Constant) or (tensor.constant is not None)]


class _Statistics:
    """Looks at each constant once: weights may be shared."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[int, str], WeightFacts] = {}
        self._left = MOST_ELEMENTS

    def of(self, weight: Tensor) -> WeightFacts:
        """The facts of one weight."""
        key = (id(weight), weight.name)
        if key not in self._by_name:
            self._by_name[key] = self._measured(weight)
        return self._by_name[key]

    def _measured(self, weight: Tensor) -> WeightFacts:
        source = weight if isinstance(weight, Constant) else weight.constant
        assert source is not None
        kind, shape = np.dtype(source.dtype), tuple(int(size) for size in source.shape)
        size = math.prod(shape)
        if size == 0 or size > self._left or kind.kind in "OSUbc":
            return WeightFacts(weight.name, str(kind), shape)
        self._left -= size
        values = source.values if isinstance(source, Constant) else source
        return WeightFacts(weight.name, str(kind), shape, *_moments(values))


def _moments(values: np.ndarray) -> tuple[float | None, ...]:
    """Least, most, mean, standard deviation, share of zeros; the first four None where one is not finite."""
    flat = values.reshape(-1)
    least, most, total, square, zeros = math.inf, -math.inf, 0.0, 0.0, 0
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK].astype(np.float64)
        least, most = min(least, float(part.min())), max(most, float(part.max()))
        total, square = total + float(part.sum()), square + float(part @ part)
        zeros += int(np.count_nonzero(part == 0))
    share = zeros / flat.size
    if not (math.isfinite(least) and math.isfinite(most) and math.isfinite(square)):
        return None, None, None, None, share
    mean = total / flat.size
    return least, most, mean, math.sqrt(max(square / flat.size - mean * mean, 0.0)), share


def _text(value: object) -> str:
    """An attribute as people read it; of a tensor or a graph its kind and size alone."""
    if isinstance(value, (str, int, float)):
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    elif isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
    elif isinstance(value, (list, tuple)):
        text = ", ".join(_text(item) for item in value)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        text = f"{value.dtype} tensor of {'×'.join(map(str, value.shape or ())) or 'one number'}"
    else:
        text = f"a {type(value).__name__.lower()}"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
