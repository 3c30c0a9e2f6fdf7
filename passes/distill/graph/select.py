"""Choose what to train: the weights and biases of layers, unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.ir import Constant, Node, Tensor
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline.contract.selection import first_match, refuse_unmatched

PLACES = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
}
CARRIES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten")
SMALLEST_RAMP = 8  # fixed: weights 0, 1, 2, ... of so many are a decoder's table: 8 in NanoDet, 16 in YOLO


@dataclass(frozen=True)
class Choice:
    """What the user wants trained: patterns of names of tensors or nodes, and a node to begin behind."""

    train: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    behind: str = ""


def trainable(graph: ir.Graph, choice: Choice) -> dict[Constant, Node]:
    """The constants to train, each with a node that reads it, in the order of the graph.

    Raises UsageError for a pattern or a node that names nothing.
    """
    parameters: dict[Constant, Node] = {}
    for node in graph.find():
        for tensor in _candidates(node):
            if tensor.dtype.kind == "f" and tensor.values.size and not _is_table(node, tensor):
                parameters.setdefault(tensor, node)
    read = (tensor.name for node in graph.nodes for tensor in node.inputs)
    refuse_unmatched("distill", {"train": choice.train, "freeze": choice.freeze}, graph.nodes, *read)
    allowed = None if not choice.behind else _behind(graph, choice.behind)
    return {
        tensor: node
        for tensor, node in parameters.items()
        if _wanted(tensor, node, choice) and (allowed is None or node in allowed)
    }


def _candidates(node: Node) -> Iterator[Constant]:
    if not node.is_standard:
        return
    for index in PLACES.get(node.op, ()):
        tensor = node.input(index)
        origin = None if tensor is None else _origin(tensor)
        if origin is not None:
            yield origin
    if node.op == "Add":
        yield from _added_bias(node)


def _origin(tensor: Tensor) -> Constant | None:
    """The constant that a tensor is, or is a rearrangement of."""
    while not isinstance(tensor, Constant):
        node = tensor.producer
        if node is None or node.op not in CARRIES or not node.inputs:
            return None
        tensor = node.inputs[0]
    return tensor


def _added_bias(node: Node) -> Iterator[Constant]:
    """A constant that is added right behind a layer, one number for each channel."""
    for index in (0, 1):
        constant, other = node.inputs[index], node.inputs[1 - index]
        maker = other.producer
        if isinstance(constant, Constant) and maker is not None and maker.op in LAYERS:
            if sum(size > 1 for size in constant.shape) <= 1:
                yield constant
        elif isinstance(constant, Constant) and maker is not None and maker.op == "Mul":
            yield from _written_out_norm(constant, maker)


def _written_out_norm(shift: Constant, product: Node) -> Iterator[Constant]:
    """Scale and shift of a normalisation that was written as Mul and Add."""
    for tensor in product.inputs:
        if isinstance(tensor, Constant) and tensor.shape == shift.shape and shift.values.size > 1:
            yield tensor
            yield shift


def _is_table(node: Node, tensor: Constant) -> bool:
    """Whether a weight is the ramp 0, 1, 2, ... with which detectors turn a distribution into a distance."""
    if node.op not in ("Conv", "MatMul", "Gemm") or tensor.values.size < SMALLEST_RAMP:
        return False
    flat = tensor.values.ravel()
    return bool(np.array_equal(flat, np.arange(flat.size)))


def _wanted(tensor: Constant, node: Node, choice: Choice) -> bool:
    if choice.train and first_match(node, choice.train, tensor.name) is None:
        return False
    return first_match(node, choice.freeze, tensor.name) is None


def _behind(graph: ir.Graph, name: str) -> set[Node]:
    """The nodes that read what the named node makes, directly or not."""
    starts = [n for n in graph.nodes if name in (n.name, *(tensor.name for tensor in n.outputs))]
    if not starts:
        raise UsageError(f"distill: behind={name} names no node of the model")
    waiting, nodes = list(starts), set()
    while waiting:
        for tensor in waiting.pop().outputs:
            for reader in tensor.consumers:
                if reader not in nodes:
                    nodes.add(reader)
                    waiting.append(reader)
    return nodes
