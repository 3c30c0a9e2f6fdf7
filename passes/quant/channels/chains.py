"""Layers whose output channels can be changed, and undone where they are read.

Between a layer and the layers that read it stand only operators that treat every channel by itself and
commute with positive factors (ReLU, pooling, ...).  A bounded activation such as ReLU6 ends the search: a
factor would move its bound.  So do sums with another branch and outputs of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.errors import PassError

from ..items import node_id

if TYPE_CHECKING:
    from graphopt.ir import Graph, Node, Tensor
    from graphopt.pipeline import Context

COMMUTING = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "Dropout",
    }
)
LAYERS = ("Conv", "Gemm", "MatMul")
Shapes = Mapping[str, "tuple[int, ...]"]


@dataclass(frozen=True)
class Reader:
    """A layer that reads the channels from input ``start`` on, ``repeat`` inputs for each."""

    node: Node
    start: int
    repeat: int


@dataclass(frozen=True)
class Chain:
    """A layer whose output channels can be changed, and all that reads them; ``seen`` is what they read."""

    source: Node
    seen: Tensor
    readers: tuple[Reader, ...]


def known_shapes(model: ir.Model, ctx: Context) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors that are known for the samples of the run."""
    shapes = {}
    for name, shape in ir.infer_shapes(model, dict(ctx.shapes)).items():
        if (sizes := ir.static_shape(shape)) is not None:
            shapes[name] = sizes
    return shapes


def chains(graph: Graph, shapes: Shapes) -> Iterator[Chain]:
    """The layers whose output channels can be multiplied by factors."""
    for node in graph.find("Conv", "Gemm"):
        if not _can_be_scaled(node):
            continue
        every = list(_readers(node.output, 0, 1, graph, shapes))
        readers = tuple(reader for reader in every if reader is not None and _fits(reader, channels_of(node)))
        if readers and len(readers) == len(every):
            yield Chain(node, _seen(node), readers)


def between(tensor: Tensor) -> Iterator[Node]:
    """The nodes between the output of a chain's layer and those that read its channels."""
    for node in dict.fromkeys(tensor.consumers):
        if node.op in COMMUTING or node.op in ("Concat", "Flatten"):
            yield node
            yield from between(node.output)


def tensors_of(pairs: Iterable[Chain]) -> list[str]:
    """The tensors that hold the channels of chains, from their layers to their readers."""
    outputs = [chain.source.output for chain in pairs]
    return [t.name for output in outputs for t in (output, *(node.output for node in between(output)))]


def matched(pairs: Iterable[Chain], wanted: Mapping[str, Sequence[float]], does: str) -> list[Chain]:
    """The chains of the layers that a plan names, with a number for each of their channels.

    Raises PassError, which says what the plan ``does`` to channels, for a layer that has no such chain.
    """
    by_name = {node_id(chain.source): chain for chain in pairs}
    for name, numbers in wanted.items():
        if name not in by_name or channels_of(by_name[name].source) != len(numbers):
            raise PassError(
                f"the plan {does} the channels of {name}, which the model does not allow",
                hint="make a new plan for this model",
                pass_name="quant",
            )
    return [by_name[name] for name in wanted]


def _readers(
    tensor: Tensor, start: int, repeat: int, graph: Graph, shapes: Shapes
) -> Iterator[Reader | None]:
    """What reads a tensor, through what commutes with factors; None for a reader that does not."""
    if graph.is_output(tensor):
        yield None
    for node in dict.fromkeys(tensor.consumers):
        if not node.is_standard or node.graph is not graph:
            yield None
        elif node.op in LAYERS:
            fits = list(node.inputs).count(tensor) == 1 and node.inputs[0] is tensor and _can_be_scaled(node)
            yield Reader(node, start, repeat) if fits and _reads_by_channel(node, shapes) else None
        elif node.op in COMMUTING and len([out for out in node.outputs if out.name]) == 1:
            yield from _readers(node.output, start, repeat, graph, shapes)
        elif node.op == "Concat" and node.attr("axis", 0) == 1 and list(node.inputs).count(tensor) == 1:
            before = [shapes.get(t.name, ()) for t in node.inputs[: list(node.inputs).index(tensor)]]
            if any(len(shape) < 2 for shape in before):
                yield None
            else:  # entries of axis 1 on both sides: channels, or inputs behind a Flatten
                offset = sum(shape[1] for shape in before)
                yield from _readers(node.output, start + offset, repeat, graph, shapes)
        elif node.op == "Flatten" and node.attr("axis", 1) == 1 and len(shapes.get(tensor.name, ())) >= 2:
            inner = int(np.prod(shapes[tensor.name][2:]))
            yield from _readers(node.output, start * inner, repeat * inner, graph, shapes)
        else:
            yield None


def _can_be_scaled(node: Node) -> bool:
    weight = node.inputs[1].constant
    if weight is None or weight.dtype != np.float32 or len(node.inputs[1].consumers) > 1:
        return False
    if node.op == "MatMul":
        return weight.ndim == 2
    if node.op == "Gemm" and (node.attr("transA", 0) or node.attr("beta", 1.0) != 1.0):
        return False
    bias = node.input(2)
    return bias is None or (
        bias.constant is not None and bias.constant.shape == (channels_of(node),) and len(bias.consumers) == 1
    )


def _reads_by_channel(node: Node, shapes: Shapes) -> bool:
    """Whether a layer sums over the channels, axis 1 of what it reads: a MatMul sums over the last axis."""
    if node.op == "MatMul":
        return len(shapes.get(node.inputs[0].name, ())) == 2
    if node.op == "Gemm":
        return True
    group, weight = int(node.attr("group", 1)), node.inputs[1].constant
    return group == 1 or weight.shape[1] == 1


def _fits(reader: Reader, channels: int) -> bool:
    """Whether the weight of a reader has the entries that are said to belong to the channels."""
    axis, taken, _ = place(reader, channels)
    return bool(taken.stop <= reader.node.inputs[1].constant.shape[axis])


def channels_of(node: Node) -> int:
    return int(node.inputs[1].constant.shape[own_axis(node)])


def _seen(node: Node) -> Tensor:
    """The tensor behind the activation of a layer."""
    reader = node.output.consumers[0] if node.output.is_private else None
    return reader.output if reader is not None and reader.op in ("Relu", "LeakyRelu") else node.output


def place(reader: Reader, channels: int) -> tuple[int, slice, int]:
    """The axis of the reader's weight, its entries that belong to the channels, and how many to each."""
    weight, group = reader.node.inputs[1].constant, int(reader.node.attr("group", 1))
    if reader.node.op == "Conv" and group > 1:  # depthwise: each input channel has its own outputs
        times = reader.repeat * (weight.shape[0] // group)
        return 0, slice(reader.start * times, (reader.start + channels) * times), times
    axis = 1 if reader.node.op == "Conv" or reader.node.attr("transB", 0) else 0
    return axis, slice(reader.start, reader.start + channels * reader.repeat), reader.repeat


def own_axis(node: Node) -> int:
    """The axis of a weight that counts the output channels."""
    return 0 if node.op == "Conv" or node.attr("transB", 0) else 1
