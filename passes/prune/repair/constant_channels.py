"""Channels that are always the same value are taken over by the biases of the layers that read them.

Afterwards nobody reads them, so they can be removed without any change of the outputs.  That a channel is
constant is proven by the weights (constant_propagation.py, and one look at its value) or by all calibration
samples.  A layer that pads its input with zeros sees another value at the border than inside, so it can take
over zero only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.operators import is_padded

from ..coupling.coupling import Coupling, couple
from ..coupling.facts import Facts
from ..coupling.ids import FIXED
from ..coupling.parameter_axes import ParameterAxis
from ..fingerprint import fingerprint
from .constant_propagation import Mask, has_zeros, steady_channels

if TYPE_CHECKING:
    from graphopt.data import Sample
    from graphopt.pipeline import Context

NOTE = "prune.constants"
FEW = 8  # noise: samples below which what they share proves nothing; of one, a pooled channel has one value
AGAIN = 4  # time: how many times more samples until the model is cut down to the tensors still in question


def without_constants(model: ir.Model, facts: Facts, ctx: Context) -> ir.Model:
    """Return the model with constant channels read by nobody: a copy, or itself when there are none."""
    if _by_weights_alone(ctx) and not has_zeros(model.graph):
        return model
    coupling = couple(model, facts)
    values = constant_inputs(model, coupling, facts, ctx)
    if not values:
        return model
    copy = model.copy()
    absorb(copy, couple(copy, facts), values, facts)
    return copy


def absorb_constants(model: ir.Model, facts: Facts, ctx: Context) -> None:
    """Let biases take over the constant channels of ``model``, in place."""
    if _by_weights_alone(ctx) and not has_zeros(model.graph):
        return
    coupling = couple(model, facts)
    absorb(model, coupling, constant_inputs(model, coupling, facts, ctx), facts)


def constant_inputs(model: ir.Model, coupling: Coupling, facts: Facts, ctx: Context) -> dict[str, np.ndarray]:
    """Return, by the name of a layer's output, the values of its constant inputs, NaN for all others.

    Only such classes are named as are constant for every layer that reads them and can be taken over by all.
    Planning and carrying out ask about the same model, and so does every trial of a study: the samples are
    looked at once.
    """
    if not facts.runs:
        return {}
    state = fingerprint(model, ctx)
    kept = ctx.notes.get(NOTE)
    if kept is None or kept[0] != state:
        kept = state, _constants(model, coupling, ctx)
        ctx.notes[NOTE] = kept
    values: dict[str, np.ndarray] = kept[1]
    return values


def _by_weights_alone(ctx: Context) -> bool:
    """Whether only the weights can prove that a channel is constant: samples are synthetic, or too few."""
    return ctx.calibration_is_synthetic or len(ctx.calibration) < FEW


def _constants(model: ir.Model, coupling: Coupling, ctx: Context) -> dict[str, np.ndarray]:
    readers = [slot for slot in coupling.slots if slot.role == "in" and slot.index == 1]
    proven = steady_channels(model.graph, coupling)
    values = _Values(model, coupling, readers, proven, ctx)
    samples = () if ctx.calibration_is_synthetic else ctx.calibration
    values.look(ctx.inputs.check, samples)
    return values.settled()


class _Values:
    """Narrows down which classes are constant, sample by sample."""

    def __init__(
        self,
        model: ir.Model,
        coupling: Coupling,
        readers: list[ParameterAxis],
        proven: dict[ir.Tensor, Mask],
        ctx: Context,
    ) -> None:
        self._model, self._coupling, self._ctx = model, coupling, ctx
        self._readers = [slot for slot in readers if slot.node.inputs[0] in coupling.carried]
        self._unread = [~slot.rows().any(axis=1) for slot in self._readers]
        self._carried = {tensor.name: channels for tensor, channels in coupling.carried.items()}
        self._seen: dict[str, np.ndarray] = {}  # tensor -> value of each channel, NaN once it varied
        self._open = self._removable()
        if _by_weights_alone(ctx):
            self._drop(proven)

    def _removable(self) -> Mask:
        possible = np.zeros(len(self._coupling.classes), bool)
        for slot, unread in zip(self._readers, self._unread, strict=True):
            possible[self._coupling.on(slot.ids[~unread])] = True
        possible[[FIXED, *self._coupling.walls]] = False
        return possible

    def _drop(self, proven: dict[ir.Tensor, Mask]) -> None:
        """Without data only what the weights prove counts."""
        for slot, unread in zip(self._readers, self._unread, strict=True):
            constant = proven[slot.node.inputs[0]]
            self._open[self._coupling.on(slot.ids[~unread & ~constant])] = False

    def look(self, check: Iterable[Sample], samples: Iterable[Sample]) -> None:
        """Compare the channels still in question over the check sample and all others."""
        seen, again = 0, 0
        session, names = None, [""]
        for few in (check, samples):
            for sample in few:
                if seen == 0 or seen >= again:
                    names, again = self._tensors(), max(again * AGAIN, 1)
                    session = self._ctx.session(self._model, outputs=names) if names else None
                if session is None:
                    return
                for name, value in session.run(sample.feeds).items():
                    self._note(name, value)
                self._close()
                seen += 1

    def _tensors(self) -> list[str]:
        """The inputs of layers that read a class still in question."""
        wanted = {
            slot.node.inputs[0].name: None
            for slot in self._readers
            if self._open[self._coupling.on(slot.ids)].any()
        }
        return list(wanted)

    def _note(self, name: str, tensor: np.ndarray) -> None:
        channels = self._carried[name]
        rows = np.moveaxis(tensor, channels.axis, 0).reshape(len(channels.ids), -1)
        value = np.where((rows == rows[:, :1]).all(axis=1), rows[:, 0], np.nan).astype(np.float64)
        before = self._seen.get(name, value)
        self._seen[name] = np.where(value == before, value, np.nan)

    def _close(self) -> None:
        """Give up the classes that some layer reads as anything else than one value it can take over."""
        for slot, unread in zip(self._readers, self._unread, strict=True):
            value = self._seen.get(slot.node.inputs[0].name)
            if value is not None:
                fails = np.isnan(value) | ((value != 0) & (not _takes_over(slot.node)))
                fails |= len(slot.node.inputs[1].consumers) > 1  # the weights of others would change
                self._open[self._coupling.on(slot.ids[fails & ~unread])] = False

    def settled(self) -> dict[str, np.ndarray]:
        """Return the values of the classes that are left, by layer."""
        values = {}
        for slot, unread in zip(self._readers, self._unread, strict=True):
            constant = self._open[self._coupling.on(slot.ids)] & ~unread
            value = self._seen.get(slot.node.inputs[0].name)
            if value is not None and constant.any():
                values[slot.node.output.name] = np.where(constant, value, np.nan)
        return values


def _takes_over(node: ir.Node) -> bool:
    """Whether a constant input adds the same to the output everywhere, and there is a place for it."""
    if node.op == "Conv":
        return not is_padded(node) and _free_bias(node)
    if node.op == "Gemm":
        return _free_bias(node) and bool(node.attr("beta", 1.0))
    if node.op != "MatMul" or node.graph is None or node.graph.is_output(node.output):
        return False
    return all(reader.graph is node.graph for reader in node.output.consumers)


def _free_bias(node: ir.Node) -> bool:
    bias = node.input(2)
    return bias is None or (bias.constant is not None and bias.constant.ndim <= 1)


def absorb(model: ir.Model, coupling: Coupling, values: dict[str, np.ndarray], facts: Facts) -> None:
    """Zero the weights that read constant channels, and add what they gave to the biases."""
    added: dict[ir.Node, np.ndarray] = defaultdict(lambda: np.zeros(()))
    readers = [slot for slot in coupling.slots if slot.role == "in" and slot.index == 1]
    for slot in readers:
        value = values.get(slot.node.output.name)
        if value is None:
            continue
        constant = ~np.isnan(value)
        rows = slot.rows().astype(np.float64)
        outputs = _outputs(slot) // slot.groups
        share = rows.reshape(slot.groups, -1, outputs, max(rows.shape[1] // outputs, 1)).sum(axis=3)
        weighted = share * np.where(constant, value, 0.0).reshape(slot.groups, -1, 1)
        added[slot.node] = added[slot.node] + weighted.sum(axis=1).ravel()
        model.graph.set_constant(slot.node, 1, slot.zeroed(slot.values, constant))
    for node, shift in added.items():
        if np.any(shift):
            _add_to_bias(model.graph, node, shift, facts)
    model.sort()


def _outputs(slot: ParameterAxis) -> int:
    """How many outputs the weights of a layer make; of a transposed convolution, one group."""
    values = slot.values
    if slot.node.op == "Conv":
        return int(values.shape[0])
    return int(values.shape[1 - slot.axis])


def _add_to_bias(graph: ir.Graph, node: ir.Node, shift: np.ndarray, facts: Facts) -> None:
    dtype = node.inputs[1].constant.dtype
    if node.op == "MatMul":
        _add_behind(graph, node, shift.astype(dtype), facts)
        return
    shift = shift * float(node.attr("alpha", 1.0)) / float(node.attr("beta", 1.0))
    bias = node.input(2)
    if bias is not None:
        shift = shift + np.asarray(bias.constant, np.float64)
    graph.set_constant(node, 2, shift.astype(dtype))


def _add_behind(graph: ir.Graph, node: ir.Node, shift: ir.Array, facts: Facts) -> None:
    product = node.output
    readers = list(dict.fromkeys(product.consumers))
    added = graph.add_node("Add", [product, graph.add_constant(f"{product.name}_bias", shift)])
    facts.shapes[added.output.name] = facts.shapes[product.name]
    for reader in readers:
        for index, tensor in enumerate(reader.inputs):
            if tensor is product:
                reader.inputs[index] = added.output
