"""Which node of a model each kernel of onnxruntime stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graphopt import runtime
from graphopt.cost.static.layers import computes
from graphopt.runtime.model_source import LARGEST_COPY
from graphopt.runtime.session import DEFAULTS, SessionOptions

if TYPE_CHECKING:
    from graphopt.ir import Model, Node
    from graphopt.runtime import Kernel

_MARK = re.compile(r"@(\d+)@")
_BLOCKED = re.compile(r"_nchwc(_token_\d+)?$")
_FUSED = ("Fused", "Qd", "Q")  # what onnxruntime puts before the operator that a fused kernel begins with


@dataclass(frozen=True)
class Timed:
    """Milliseconds of nodes by their index, as ``cost.layers`` counts them, and what runs within each.

    ``absorbed`` are the indices of nodes whose work a fused kernel does as well.  ``other`` are milliseconds
    by operator of kernels that stand for no node: those that change types and memory layouts.
    """

    milliseconds: Mapping[int, float]
    absorbed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    other: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Milliseconds of all kernels."""
        return sum(self.milliseconds.values()) + sum(self.other.values())


def time_nodes(
    model: Model,
    feeds: Mapping[str, np.ndarray],
    options: SessionOptions = DEFAULTS,
    *,
    seconds: float = 2.0,
) -> Timed:
    """Time the kernels of a model, optimised as usual, and tell what each does of the model.

    A kernel has the name of a node or of the tensor it makes.  The time of a fused one counts for the
    node it begins with, such as the convolution before a normalisation and an activation.
    Raises ModelError when the model does not run.
    """
    nodes = [node for graph in model.graphs() for node in graph.nodes if computes(node)]
    marked = _marked(model) if model.weight_bytes <= LARGEST_COPY else model
    return attribute(runtime.profile(marked, feeds, options, seconds=seconds), nodes)


def attribute(kernels: Sequence[Kernel], nodes: Sequence[Node]) -> Timed:
    """Count the time of each kernel for the node it stands for; ``nodes`` may have their names as marks."""
    names = {node.name: index for index, node in enumerate(nodes) if node.name}
    makers = {t.name: index for index, node in enumerate(nodes) for t in node.outputs if t.name}
    nodes_of = [_node_of(kernel.name, names, makers, len(nodes)) for kernel in kernels]
    owned = {index for index in nodes_of if index is not None}
    places = {id(node): index for index, node in enumerate(nodes)}
    milliseconds: dict[int, float] = {}
    absorbed: dict[int, tuple[int, ...]] = {}
    other: dict[str, float] = {}
    for kernel, index in zip(kernels, nodes_of, strict=True):
        time = kernel.typical / 1e3
        if index is None:
            other[kernel.op] = other.get(kernel.op, 0.0) + time
            continue
        first, passed = _begin(nodes, index, kernel.op, owned, places)
        milliseconds[first] = milliseconds.get(first, 0.0) + time
        if passed:
            absorbed[first] = tuple(sorted({*absorbed.get(first, ()), *passed}))
    return Timed(milliseconds, absorbed, other)


def _marked(model: Model) -> Model:
    """A copy whose nodes are named by their index: names may be missing, and may be twice the same."""
    copy = model.copy()
    nodes = (node for graph in copy.graphs() for node in graph.nodes if computes(node))
    for index, node in enumerate(nodes):
        node.name = f"@{index}@"
    return copy


def _node_of(name: str, names: Mapping[str, int], makers: Mapping[str, int], count: int) -> int | None:
    plain = _BLOCKED.sub("", name)
    if plain in makers:
        return makers[plain]
    if marks := _MARK.findall(name):
        index = int(marks[-1])  # the last: a subgraph that was inlined carries its owner's name before
        return index if index < count else None
    return names.get(plain)


def _begin(
    nodes: Sequence[Node], index: int, op: str, owned: set[int], places: Mapping[int, int]
) -> tuple[int, list[int]]:
    """The node that a fused kernel begins with: the nearest of its operator before what it makes.

    Only nodes without a kernel of their own are passed.  Returns the node and those that were passed.
    """
    plain = next((op.removeprefix(prefix) for prefix in _FUSED if op.startswith(prefix)), op)
    if nodes[index].op in (op, plain):
        return index, []
    passed = [index]
    for here in _before(nodes, index, owned, places):
        if nodes[here].op in (op, plain):
            return here, passed
        passed.append(here)
    return index, []


def _before(nodes: Sequence[Node], index: int, owned: set[int], places: Mapping[int, int]) -> Iterator[int]:
    """The nodes before one, the nearest first, as far as none has a kernel of its own."""
    waiting, seen = [index], {index}
    while waiting:
        for tensor in nodes[waiting.pop(0)].inputs:
            maker = tensor.producer
            place = None if maker is None else places.get(id(maker))
            if place is not None and place not in seen and place not in owned:
                seen.add(place)
                waiting.append(place)
                yield place
