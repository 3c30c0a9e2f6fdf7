"""Routes: runs of nodes that together only put channels in another order, or pick some of them.

A channel shuffle is Reshape, Transpose, Reshape; inside, the channels lie on two axes, and only rectangles of
them could be removed.  Seen from outside it is one permutation.  So when channels go, the run is replaced by
one Gather, which takes any channels in any order, and nothing is coupled.
"""

from __future__ import annotations

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.movement import moved

from ..builder import ChannelPermutation, Channels, CouplingBuilder

LARGEST = 2**24  # memory: elements of a tensor whose entries are followed one by one


def find_route(walk: CouplingBuilder, node: ir.Node, channels: Channels) -> bool:
    """Follow the channels that ``node`` spreads over several axes until they lie on one axis again.

    Returns whether they do on every way; then the tensors at the ends carry their channels, and the nodes on
    the way are settled.
    """
    source, shape = node.inputs[0], walk.shape(node.input(0))
    if shape is None or np.prod(shape, dtype=np.int64) > LARGEST:
        return False
    numbers = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
    moved = _Moved(walk, numbers, channels.axis)
    if not moved.follow(node, {source: numbers}):
        return False
    walk.routed |= moved.inside
    walk.checked.add(1)  # sizes inside a route go with it
    for end, order in moved.ends.items():
        walk.route(ChannelPermutation(source, end, order), channels)
    return True


class _Moved:
    """Where the entries of one tensor get to, node by node."""

    def __init__(self, walk: CouplingBuilder, numbers: ir.Array, axis: int) -> None:
        self._walk = walk
        self._numbers = numbers  # of the entries of the source, in its shape
        self._axis = axis
        self.inside: set[ir.Node] = set()
        self.ends: dict[ir.Tensor, ir.Array] = {}  # tensor -> which entries along the axis it holds

    def follow(self, node: ir.Node, numbered: dict[ir.Tensor, ir.Array]) -> bool:
        """Carry out ``node`` and what reads its outputs; False when something else than moving happens."""
        pending = [node]
        while pending:
            node = pending.pop()
            moved = _carried_out(self._walk, node, numbered.get(node.inputs[0])) if node.inputs else None
            if moved is None or node.graph is not self._walk.graph:
                return False
            if any(tensor in numbered for tensor in list(node.inputs)[1:]):
                return False
            self.inside.add(node)
            for tensor, numbers in zip(node.outputs, moved, strict=True):
                order = self._order(numbers)
                if order is not None:
                    self.ends[tensor] = order
                elif self._walk.graph.is_output(tensor) or not tensor.consumers:
                    return False
                else:
                    numbered[tensor] = numbers
                    pending.extend(tensor.consumers)
        return True

    def _order(self, numbers: ir.Array) -> ir.Array | None:
        """Which entries along the axis of the source these are; None when they are anything else."""
        axis, size = self._axis, self._numbers.shape[self._axis]
        if numbers.ndim != self._numbers.ndim or not numbers.size:
            return None
        first = numbers[tuple(slice(None) if at == axis else 0 for at in range(numbers.ndim))]
        order = first // int(np.prod(self._numbers.shape[axis + 1 :], dtype=np.int64)) % size
        same = np.array_equal(numbers, self._numbers.take(order, axis))
        return order.astype(np.int64) if same else None


def _carried_out(walk: CouplingBuilder, node: ir.Node, numbers: ir.Array | None) -> list[ir.Array] | None:
    """The outputs of a node that moves entries, given its input; None for any other node."""
    if numbers is None or not node.is_standard:
        return None
    if node.op == "Split" and not sizes_are_constant(node):
        return None
    return moved(node, numbers, walk.shape, lambda tensor: tensor.constant)


def sizes_are_constant(node: ir.Node) -> bool:
    """Whether everything but the first input is known before the model runs."""
    return all(tensor.constant is not None for tensor in list(node.inputs)[1:] if tensor.name)
