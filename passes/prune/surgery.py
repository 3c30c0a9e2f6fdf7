"""Carry out a choice of channels: slice constants, and rewrite what counts channels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from graphopt import ir

from .coupling import Coupling
from .edits import EDITS, read_instead
from .predict import Keep
from .walk import Slot


def remove_channels(model: ir.Model, coupling: Coupling, keep: Keep) -> None:
    """Remove the classes outside ``keep`` from ``model`` in place; mechanical, decides nothing."""
    _slice_constants(coupling, keep)
    for edit in coupling.edits:
        EDITS[edit.kind](edit, coupling, keep)
    model.forget_shapes()


def _slice_constants(coupling: Coupling, keep: Keep) -> None:
    together: dict[tuple[ir.Node, int], list[Slot]] = defaultdict(list)
    for slot in coupling.slots:
        together[slot.node, slot.index].append(slot)
    copies: dict[tuple[object, ...], ir.Tensor] = {}  # so that equal slices of a shared tensor stay shared
    work = []
    for (node, index), slots in together.items():
        masks = [(slot.axis, coupling.kept(slot.ids, keep)) for slot in slots]
        if not all(mask.all() for _, mask in masks):
            work.append((node, index, sorted(masks, key=lambda pair: pair[0])))
    for node, index, masks in work:
        tensor = node.inputs[index]
        key = (tensor, *((axis, mask.tobytes()) for axis, mask in masks))
        if key not in copies:
            copies[key] = _add_sliced(node, tensor, masks)
        read_instead(node, index, copies[key])


def _add_sliced(node: ir.Node, tensor: ir.Tensor, masks: list[tuple[int, np.ndarray]]) -> ir.Tensor:
    values = tensor.constant
    assert values is not None and node.graph is not None
    for axis, mask in masks:
        values = values.compress(mask, axis)
    return node.graph.add_constant(tensor.name, np.ascontiguousarray(values))
