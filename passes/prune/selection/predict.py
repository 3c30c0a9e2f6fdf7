"""What the model would cost with some channels removed, before anything is removed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from graphopt import ir

from ..coupling.builder import ParameterAxis
from ..coupling.coupling import Coupling

Keep = np.ndarray  # (ids,) bool: which classes stay


@dataclass(frozen=True)
class Size:
    """What a model costs: multiply-accumulates of a run, values in its constants, bytes of its constants."""

    macs: int
    params: int
    bytes: int


class Predictor:
    """Computes the cost of any choice of channels without touching the model.

    ``macs`` covers Conv, ConvTranspose, Gemm and MatMul, also those that cannot be pruned and products of two
    activations; ``params`` and
    ``bytes`` cover floating point constants, each once.
    """

    def __init__(self, model: ir.Model, coupling: Coupling) -> None:
        self._coupling = coupling
        self._slots: dict[tuple[ir.Node, int], list[ParameterAxis]] = defaultdict(list)
        for slot in coupling.slots:
            self._slots[slot.node, slot.index].append(slot)
        self._untouched = self._constants(model)

    def size(self, keep: Keep) -> Size:
        """Return the cost when the classes outside ``keep`` are removed."""
        macs, sizes = 0, dict(self._untouched)
        factors: dict[tuple[ir.Node, int], int] = {}
        for key, slots in self._slots.items():
            tensor = key[0].inputs[key[1]]
            masks = [(slot, self._coupling.kept(slot.ids, keep)) for slot in slots]
            values = tensor.constant
            assert values is not None
            shape = list(values.shape)
            for slot, mask in masks:
                shape[slot.axis] = slot.width(mask)
            factors[key] = int(np.prod(shape))
            copy = tuple(sorted((slot.axis, mask.tobytes()) for slot, mask in masks))
            sizes[id(tensor), copy] = (factors[key], factors[key] * values.itemsize)
        for layer in self._coupling.layers:
            key = (layer.node, layer.weight)
            fixed = layer.fixed
            if layer.follows is not None:
                fixed = fixed * int(self._coupling.kept(layer.follows, keep).sum()) // len(layer.follows)
            macs += fixed + layer.positions * (
                factors[key] if key in factors else _weight_size(layer.node, layer.weight)
            )
        return Size(macs, sum(size for size, _ in sizes.values()), sum(size for _, size in sizes.values()))

    def _constants(self, model: ir.Model) -> dict[tuple[int, object], tuple[int, int]]:
        """Size and bytes of the floating point constants that no slot lies on."""
        cut = {id(node.inputs[index]) for node, index in self._slots}
        sizes: dict[tuple[int, object], tuple[int, int]] = {}
        for node in model.graph.nodes:
            for tensor in node.inputs:
                is_constant = isinstance(tensor, ir.Constant) or _is_constant_node(tensor)
                values = tensor.constant if is_constant and id(tensor) not in cut else None
                if values is not None and values.dtype.kind in "fV":
                    sizes[id(tensor), None] = (values.size, values.nbytes)
        return sizes


def _is_constant_node(tensor: ir.Tensor) -> bool:
    return tensor.producer is not None and tensor.producer.op == "Constant"


def _weight_size(node: ir.Node, index: int) -> int:
    values = node.inputs[index].constant
    return 0 if values is None else int(values.size)
