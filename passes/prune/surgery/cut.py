"""Carry out a choice of channels: slice constants, and rewrite what counts channels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from graphopt import ir

from ..coupling.builder import ParameterAxis
from ..coupling.coupling import Coupling
from ..selection.predict import Keep
from .channel_counts import Rewriter


def remove_channels(model: ir.Model, coupling: Coupling, keep: Keep) -> None:
    """Remove the classes outside ``keep`` from ``model`` in place; mechanical, decides nothing."""
    rewriter = Rewriter(model.graph, coupling, keep)
    _slice_constants(coupling, keep, rewriter)
    for edit in coupling.edits:
        if not all(coupling.kept(channels.ids, keep).all() for channels in (edit.before, *edit.after)):
            rewriter.rewrite(edit)
    rewriter.finish()
    model.forget_shapes()


def _slice_constants(coupling: Coupling, keep: Keep, rewriter: Rewriter) -> None:
    together: dict[tuple[ir.Node, int], list[ParameterAxis]] = defaultdict(list)
    for slot in coupling.slots:
        together[slot.node, slot.index].append(slot)
    copies: dict[tuple[object, ...], ir.Tensor] = {}  # so that equal slices of a shared tensor stay shared
    work = []
    for (node, index), slots in together.items():
        cuts = [(slot, coupling.kept(slot.ids, keep)) for slot in slots]
        if not all(kept.all() for _, kept in cuts):
            work.append((node, index, sorted(cuts, key=lambda pair: pair[0].axis)))
    for node, index, cuts in work:
        tensor = node.inputs[index]
        key = (tensor, *((slot.axis, slot.groups, kept.tobytes()) for slot, kept in cuts))
        if key not in copies:
            copies[key] = _add_sliced(node, tensor, cuts)
        rewriter.read_instead(node, index, copies[key])


def _add_sliced(node: ir.Node, tensor: ir.Tensor, cuts: list[tuple[ParameterAxis, np.ndarray]]) -> ir.Tensor:
    values = tensor.constant
    assert values is not None and node.graph is not None
    for slot, kept in cuts:
        values = slot.cut(values, kept)
    return node.graph.add_constant(tensor.name, np.ascontiguousarray(values))
