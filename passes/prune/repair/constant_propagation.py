"""Which channels do not depend on the data, as far as the weights prove it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from graphopt import ir

from ..coupling.builder import ChannelPermutation
from ..coupling.coupling import Coupling
from ..coupling.ids import FIXED
from ..coupling.parameter_axes import ParameterAxis

Mask = npt.NDArray[np.bool_]

# A zero scale makes these write a constant whatever they read; others only pass it on.
SCALED = ("Mul", "BatchNormalization", "InstanceNormalization", "Conv", "ConvTranspose")
LAYERS = ("Gemm", "MatMul")


def steady_channels(graph: ir.Graph, coupling: Coupling) -> dict[ir.Tensor, Mask]:
    """Return for each tensor that carries channels which of them do not depend on the model's inputs.

    Such a channel is made by filters of zeros, or scaled by zero, or computed from such channels alone.  It
    may still differ from place to place, as padding makes it.  Entries of the masks are those of the axis.
    """
    slots: dict[ir.Node, list[ParameterAxis]] = defaultdict(list)
    for slot in coupling.slots:
        slots[slot.node].append(slot)
    routes = {edit.route.end: edit.route for edit in coupling.edits if edit.route is not None}
    masks: dict[ir.Tensor, Mask] = {}
    sizes: set[ir.Tensor] = set()
    for node in graph.nodes:
        if _counts(node, sizes):
            sizes.update(node.outputs)
        for tensor in node.outputs:
            if tensor in coupling.carried:
                masks[tensor] = _of_output(node, tensor, slots[node], routes, coupling, masks, sizes)
    return masks


def _counts(node: ir.Node, sizes: set[ir.Tensor]) -> bool:
    """Whether a node calculates with nothing but the sizes of tensors, which the values do not change."""
    if node.op in ("Shape", "Size"):
        return node.is_standard
    given = [tensor for tensor in node.inputs if tensor.name]
    return (
        node.is_standard
        and any(tensor in sizes for tensor in given)
        and all(tensor in sizes or tensor.constant is not None for tensor in given)
        and not list(node.subgraphs())
        and not node.op.startswith("Random")
    )


def has_zeros(graph: ir.Graph) -> bool:
    """Whether any filter or scale is zero, without which no channel is constant."""
    for node in graph.find(*LAYERS, *SCALED):
        for tensor in node.inputs[:2] if node.op == "Mul" else node.inputs[1:2]:
            values = tensor.constant
            if values is not None and _has_zero_filter(node, values):
                return True
    return False


def _has_zero_filter(node: ir.Node, values: ir.Array) -> bool:
    if values.ndim < 2 or node.op == "Mul":
        return not values.all()
    if node.op in ("Conv", "ConvTranspose"):
        values = np.asarray(values.any(axis=tuple(range(2, values.ndim))))
    groups = int(node.attr("group", 1))
    if node.op == "ConvTranspose" and groups > 1:  # other outputs in the same column of every group
        values = np.asarray(values.reshape(groups, -1, values.shape[1]).any(axis=1))
    return not (values.any(axis=0).all() and values.any(axis=1).all())


def _of_output(
    node: ir.Node,
    tensor: ir.Tensor,
    slots: list[ParameterAxis],
    routes: dict[ir.Tensor, ChannelPermutation],
    coupling: Coupling,
    masks: dict[ir.Tensor, Mask],
    sizes: set[ir.Tensor],
) -> Mask:
    ids = coupling.carried[tensor].ids
    route = routes.get(tensor)
    if route is not None:
        return masks[route.source][route.order]
    makers = [slot for slot in slots if slot.role == "out"]
    computed = makers and node.input(2) is not None and node.inputs[2].constant is None
    if computed or node in coupling.mixing:
        return np.zeros(len(ids), bool)
    if makers:
        return _made(makers[0], next((slot for slot in slots if slot.role == "in"), None), masks)
    constant = np.asarray(_passed(node, coupling, ids, masks, sizes) & (coupling.on(ids) != FIXED), bool)
    for slot in slots:
        shut = slot.role == "scale" and node.op in SCALED and len(slot.ids) == len(ids)
        if shut and all(other.constant is not None for other in list(node.inputs)[2:] if other.name):
            constant = np.asarray(constant | _empty(slot), bool)
    return constant


def _made(out: ParameterAxis, entering: ParameterAxis | None, masks: dict[ir.Tensor, Mask]) -> Mask:
    """A layer's output is constant when it has weights for constant inputs only."""
    source = None if entering is None or entering.groups > 1 else masks.get(entering.node.inputs[0])
    if source is None or not source.any() or entering is None or out.groups > 1 or out.index != 1:
        return _empty(out)
    weights = np.moveaxis(out.values, (out.axis, entering.axis), (0, 1))
    read = weights.reshape(len(out.ids), len(entering.ids), -1).any(axis=2)  # (outputs, inputs)
    return np.asarray(~(read & ~source).any(axis=1), bool)


def _empty(slot: ParameterAxis) -> Mask:
    """Which channels have zeros only."""
    return np.asarray(~slot.rows().any(axis=1), bool)


def _passed(
    node: ir.Node,
    coupling: Coupling,
    ids: np.ndarray,
    masks: dict[ir.Tensor, Mask],
    sizes: set[ir.Tensor],
) -> Mask:
    """An output is constant when all that comes in for its class is."""
    moving: set[int] = set()
    for tensor in node.inputs:
        if not tensor.name or tensor.constant is not None or tensor in sizes:
            continue
        if tensor not in masks:
            return np.zeros(len(ids), bool)
        moving.update(coupling.on(coupling.carried[tensor].ids[~masks[tensor]]).tolist())
    return ~np.isin(coupling.on(ids), list(moving))
