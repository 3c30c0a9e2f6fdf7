"""Where the output channels of a layer get to: numbered, and followed through what moves or scales them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir.analysis.movement import ShapeOf, ValueOf, moved

if TYPE_CHECKING:
    from graphopt.ir.graph import Node
    from graphopt.ir.io.weights import Array
    from graphopt.ir.tensor import Tensor

LARGEST = 2**24  # memory: entries of a tensor that are followed one by one
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass
class Flow:
    """The channels of one tensor, numbered along ``axis``, wherever they are only moved or scaled.

    ``numbers`` are the channels at each entry of a tensor, ``scale`` what they were multiplied with on the
    way, ``ends`` the nodes that do something else with them, as (node, input).  Behind a node that changes
    entries one by one, or normalises them, channels keep their places: there ``changed`` names it.
    """

    source: Tensor
    numbers: dict[Tensor, Array] = field(default_factory=dict)
    scale: dict[Tensor, float] = field(default_factory=dict)
    changed: dict[Tensor, Node] = field(default_factory=dict)
    ends: list[tuple[Node, int]] = field(default_factory=list)


def flow_of(source: Tensor, axis: int, shape: ShapeOf, value: ValueOf) -> Flow | None:
    """Follow the channels of ``source``; None where its size is unknown or too large to follow."""
    sizes = shape(source)
    if sizes is None or not sizes or np.prod(sizes, dtype=np.int64) > LARGEST:
        return None
    axis %= len(sizes)
    line = np.arange(sizes[axis], dtype=np.int32).reshape(
        [-1 if at == axis else 1 for at in range(len(sizes))]
    )
    flow = Flow(source, {source: np.broadcast_to(line, sizes)}, {source: 1.0})
    pending = deque([source])
    while pending:
        tensor = pending.popleft()
        for node, index in _uses(tensor):
            pending.extend(_through(flow, node, index, tensor, shape, value))
    return flow


def _uses(tensor: Tensor) -> Iterator[tuple[Node, int]]:
    for node in dict.fromkeys(tensor.consumers):
        for index, given in enumerate(node.inputs):
            if given is tensor:
                yield node, index


def _through(
    flow: Flow, node: Node, index: int, tensor: Tensor, shape: ShapeOf, value: ValueOf
) -> list[Tensor]:
    """Carry the numbers of ``tensor`` through one node that reads it; return the tensors that are new."""
    numbers, scale = flow.numbers[tensor], flow.scale[tensor]
    outputs = moved(node, numbers, shape, value) if index == 0 else None
    changed = flow.changed.get(tensor)
    if outputs is None:
        factor = uniform_factor(node, index)
        if factor is not None:
            outputs, scale = [numbers], scale * factor
        elif node.op == "Shape":
            return []
        elif _keeps_places(node, tensor, shape):
            outputs, changed = [numbers], changed or node
            flow.ends.append((node, index))
        else:
            flow.ends.append((node, index))
            return []
    fresh = [pair for pair in zip(node.outputs, outputs, strict=False) if pair[0] not in flow.numbers]
    for output, carried in fresh:
        flow.numbers[output], flow.scale[output] = carried, scale
        if changed is not None:
            flow.changed[output] = changed
    return [output for output, _ in fresh]


def uniform_factor(node: Node, index: int) -> float | None:
    """The one constant that a Mul or Div multiplies its input ``index`` with; None for anything else."""
    if not node.is_standard or node.op not in ("Mul", "Div") or (node.op == "Div" and index):
        return None
    constant = node.inputs[1 - index].constant
    if constant is None or constant.size != 1 or not np.all(constant):
        return None
    factor = float(constant.reshape(-1)[0])
    return 1.0 / factor if node.op == "Div" else factor


def _keeps_places(node: Node, tensor: Tensor, shape: ShapeOf) -> bool:
    """Whether a node makes of each entry, or of each row of entries, one in the same place."""
    weighted = node.op in (*WEIGHTED, "Softmax") or not node.outputs or bool(list(node.subgraphs()))
    return not weighted and shape(node.output) == shape(tensor) is not None
