"""The guard of placement: a node with an input or output that no rule accounts for stays float.

Rules say which inputs of an operator are activations (``activations``); constants and integers, such as
shapes and indices, need no rule.  The placement asks ``unclaimed`` for every node, so that a rule that
forgets an operand costs speed and is reported, and never a wrong number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from graphopt.ir import Node, Tensor
from graphopt.ir.signatures import takes_float

from .rules import JOINS

PARAMETERS = {"Resize": (1, 2)}  # float inputs that are no activations: region and scales


def activations(node: Node) -> list[Tensor]:
    """The inputs of a candidate that are stored, if it runs on integers."""
    if node.op in JOINS:
        return [tensor for tensor in node.inputs if tensor.constant is None]
    return [node.inputs[0]]


def unclaimed(node: Node, claimed: Iterable[Tensor]) -> str | None:
    """Why a node stays float whose rule claims these inputs and no others, or None when nothing is left."""
    claimed = set(claimed)
    for tensor in _float_inputs(node):
        if tensor not in claimed:
            return f"no rule says how its input {tensor.name} is stored"
    for tensor in claimed:
        if tensor.dtype is not None and tensor.dtype != np.float32:
            return f"it reads {tensor.name} in {tensor.dtype}, not float32"
    for tensor in node.outputs[1:]:
        if tensor.name and tensor.dtype is not None and tensor.dtype != np.float32:
            return f"no rule says what becomes of its output {tensor.name}"
    return None


def _float_inputs(node: Node) -> Iterator[Tensor]:
    """What a node reads that is computed and may be a number to store."""
    for index, tensor in enumerate(node.inputs):
        if not tensor.name or tensor.constant is not None or index in PARAMETERS.get(node.op, ()):
            continue
        is_integer = tensor.dtype is not None and tensor.dtype.kind in "iub"
        if not is_integer and takes_float(node.op, index):
            yield tensor
