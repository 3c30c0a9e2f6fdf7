"""How far folding may let the file grow: to the size that it began with, and ``fold_limit`` bytes more."""

from __future__ import annotations

from graphopt.ir import Constant, Model, Node, Tensor
from graphopt.ir.io.exporter import GraphExporter

OVERHEAD = 14  # fixed: bytes of an initializer or a node beside names, sizes and payload: types and lengths
SHAPE_BYTES = 64  # fixed: the sizes of eight axes, no more than the node that computes them
WIDENED_BYTES = 16384  # noise: bytes by which weights that are stored in a narrower type may grow in all


class FileBudget:
    """The size of a model's file against the size that it began with."""

    def __init__(self, model: Model, allowance: int) -> None:
        self._model = model
        self._exporter = GraphExporter(model.weights)
        self.before = model.file_bytes
        self._limit = self.before + allowance
        self._room: int | None = None
        self._widened = 0

    def forget(self) -> None:
        """Measure again when next asked, since other rules have changed the model."""
        self._room = None

    def take(self, stored: int, freed: int) -> bool:
        """Say whether ``stored`` bytes may come for ``freed`` bytes that go, and book the difference.

        What makes the file no larger may always come, and so may a shape; weights that at most double may as
        long as they are small, because layers whose weights are computed cannot be folded.
        """
        growth = stored - freed
        if growth <= 0 or stored <= SHAPE_BYTES:
            return True
        if self._room is None:
            self._room = self._limit - self._model.file_bytes
        if growth <= self._room:
            self._room -= growth
            return True
        if growth <= freed and self._widened + growth <= WIDENED_BYTES:
            self._widened += growth
            return True
        return False

    def node_bytes(self, node: Node) -> int:
        """What a node takes in the file."""
        return int(self._exporter.node(node).ByteSize()) + 2

    @staticmethod
    def constant_bytes(tensor: Tensor, payload: int, rank: int) -> int:
        """What ``tensor`` takes in the file as an initializer."""
        return len(tensor.name.encode()) + payload + rank + OVERHEAD

    @classmethod
    def private_bytes(cls, node: Node) -> int:
        """What the initializers take that only ``node`` reads."""
        private = {t for t in node.inputs if isinstance(t, Constant) and t.name and t.is_private}
        return sum(cls.constant_bytes(t, t.nbytes, len(t.shape)) for t in private)
