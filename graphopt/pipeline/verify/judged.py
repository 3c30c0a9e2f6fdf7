"""The float tensors by which two versions of a model are compared, also where every output is an integer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.data import is_float
from graphopt.pipeline.verify.discontinuities import find_walls

if TYPE_CHECKING:
    from graphopt.ir import Model, Tensor


class Judged:
    """The float outputs of a model; for one that has none, the float tensors that enter what chooses.

    A segmentation that ends in ArgMax is judged by its scores.  Outputs behind random operators are left out.
    ``names`` is empty when nothing can be judged.
    """

    def __init__(self, model: Model) -> None:
        walls = find_walls(model)
        outputs = [t for t in model.graph.outputs if t.name not in walls.random]
        floats = [t.name for t in outputs if t.dtype is None or is_float(t.dtype)]
        self._readers: dict[str, tuple[str, int]] = {}  # what reads an inner tensor, and where
        if not floats:
            wanted = set(walls.tensors)
            self._readers = {
                t.name: reader for t in _tensors(model) if t.name in wanted and (reader := _reader(t))
            }
        self.names = tuple(floats) if floats else tuple(self._readers)

    def where(self, model: Model) -> tuple[str, ...]:
        """The same tensors in another version of the model, in the order of ``names``.

        What stands before an operator that chooses is what this operator reads there, integers read back
        included.
        """
        makers = {t.name: node for node in model.graph.nodes for t in node.outputs} if self._readers else {}
        names = []
        for name in self.names:
            result, index = self._readers.get(name, ("", 0))
            reader = makers.get(result)
            names.append(name if reader is None else reader.inputs[index].name)
        return tuple(names)


def _tensors(model: Model) -> list[Tensor]:
    return [tensor for node in model.graph.nodes for tensor in node.outputs]


def _reader(tensor: Tensor) -> tuple[str, int] | None:
    """The first node that reads a tensor, by its first output, and the index of the input."""
    for node in tensor.consumers:
        if node.outputs and tensor in list(node.inputs):
            return node.outputs[0].name, list(node.inputs).index(tensor)
    return None
