"""Split the wanted tensors into groups whose activations fit a memory budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.runtime import tensor_shapes
from graphopt.runtime.model_source import LARGEST_COPY

if TYPE_CHECKING:
    from graphopt.ir import Model

_UNKNOWN_BYTES = 16 * 2**20  # memory: assumed in a larger model for a tensor whose shape cannot be inferred


def tensor_groups(
    model: Model,
    names: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    budget: int,
    custom_ops: Sequence[str] = (),
) -> list[list[str]]:
    """Neighbouring names in groups of at most ``budget`` bytes of activations for these feeds.

    A tensor larger than the budget is a group of its own.
    """
    sizes = _sizes(model, names, feeds, custom_ops)
    groups: list[list[str]] = []
    free = 0
    for name in names:
        if not groups or sizes[name] > free:
            groups.append([])
            free = budget
        groups[-1].append(name)
        free -= sizes[name]
    return groups


def _sizes(
    model: Model, names: Sequence[str], feeds: Mapping[str, np.ndarray], custom_ops: Sequence[str]
) -> dict[str, int]:
    """Bytes of each tensor: by shape inference, and measured when that leaves some open."""
    inferred = ir.infer_shapes(model, {name: array.shape for name, array in feeds.items()})
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        if (sizes := ir.static_shape(inferred.get(name))) is not None:
            shapes[name] = sizes
    unknown = [name for name in names if name not in shapes]
    if unknown and model.weight_bytes <= LARGEST_COPY:
        shapes |= tensor_shapes(model, unknown, feeds, custom_ops=custom_ops)
    widths = _itemsizes(model)
    return {
        name: math.prod(shapes[name]) * widths.get(name, 4) if name in shapes else _UNKNOWN_BYTES
        for name in names
    }


def _itemsizes(model: Model) -> dict[str, int]:
    tensors = (tensor for node in model.graph.nodes for tensor in node.outputs)
    return {tensor.name: tensor.dtype.itemsize for tensor in tensors if tensor.dtype is not None}
