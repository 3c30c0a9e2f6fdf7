"""Carry out a choice of channels: fit, then cut; what planning has fitted already is not fitted again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.ir.transform.layer_bias import Bias, vector_bias

from ..coupling.coupling import Coupling
from ..coupling.parameter_axes import ParameterAxis
from ..importance.data_free import Corrected, correct_biases
from ..importance.moment_propagation import Notes
from ..repair.layerwise import Repaired, repair
from ..repair.rows import Targets
from ..selection.predict import Keep
from .cut import remove_channels

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context, Plan


@dataclass(frozen=True)
class Fitted:
    """What planning has fitted: weights by layer, and from which state, for which channels.

    A plan has it beside its items; the same walk over the same samples would come to the same weights.
    """

    key: str
    constants: dict[str, tuple[np.ndarray, np.ndarray | None]]
    done: tuple[Repaired, ...]


def carry_out(
    model: ir.Model,
    coupling: Coupling,
    keep: Keep,
    samples: Samples | None,
    ctx: Context,
    notes: Notes | None = None,
    targets: Targets | None = None,
    fitted: Fitted | None = None,
) -> Sequence[Repaired | Corrected]:
    """Remove channels from ``model`` in place.

    With samples, what is left is fitted to what the model computed; with the notes of normalisations instead,
    biases take over the means of what goes.  ``targets`` is for trials that carry out several choices on the
    same model and samples (see ``repair``).  ``fitted`` is what planning fitted for this choice: it is taken
    over.
    """
    done: Sequence[Repaired | Corrected] = ()
    if samples is not None and not keep[list(coupling.inexact)].all():
        ctx.warn("prune fits no weights where channels go that one normalisation spans with others")
        samples = None
    if samples is not None:
        if fitted is not None:
            _take_over(model, fitted)
            done = fitted.done
        else:
            done = repair(model, coupling, keep, samples, ctx, targets=targets)
        coupling = _with_new_biases(coupling)
    elif notes is not None:
        done = correct_biases(model, coupling, keep, notes)
        coupling = _with_new_biases(coupling)
    remove_channels(model, coupling, keep)
    return done


def fitted_weights(
    model: ir.Model, coupling: Coupling, keep: Keep, done: Sequence[Repaired], state: str
) -> Fitted:
    """Return the weights that were fitted for a plan, for the time when it is carried out from ``state``.

    ``coupling`` is that of the copy of ``model`` that was fitted.
    """
    layers = {layer.node.output.name: layer.node for layer in coupling.layers if layer.ids is not None}
    before = {node.output.name: node for node in model.graph.nodes if node.outputs}
    constants = {
        name: (node.inputs[1].constant, _bias(node))
        for name, node in layers.items()
        if _differ(node, before[name])
    }
    return Fitted(_key(state, coupling, keep), constants, tuple(done))


def fitted_beside(plan: Plan, state: str, coupling: Coupling, keep: Keep) -> Fitted | None:
    """What a plan has beside it, if that was fitted from this state of the model for these channels."""
    fitted = plan.beside
    if isinstance(fitted, Fitted) and fitted.key == _key(state, coupling, keep):
        return fitted
    return None


def _key(state: str, coupling: Coupling, keep: Keep) -> str:
    digest = hashlib.sha256(state.encode())
    digest.update(coupling.classes.tobytes())
    digest.update(keep.tobytes())
    return digest.hexdigest()


def _take_over(model: ir.Model, fitted: Fitted) -> None:
    for node in model.graph.nodes:
        if node.outputs and node.output.name in fitted.constants:
            weight, bias = fitted.constants[node.output.name]
            model.graph.set_constant(node, 1, weight)
            if bias is not None:
                place = vector_bias(node) or Bias(node, 2)
                model.graph.set_constant(place.node, place.index, bias)


def _differ(node: ir.Node, other: ir.Node) -> bool:
    """Whether two layers have different weights or biases."""
    pairs = ((node.inputs[1].constant, other.inputs[1].constant), (_bias(node), _bias(other)))
    return any(
        (new is None) != (old is None)
        or (new is not None and old is not None and not np.array_equal(new, old))
        for new, old in pairs
    )


def _bias(node: ir.Node) -> np.ndarray | None:
    place = vector_bias(node)
    return None if place is None else place.tensor.constant


def _with_new_biases(coupling: Coupling) -> Coupling:
    """Let biases that layers were given by the fit follow their output channels."""
    places = {(slot.node, slot.index) for slot in coupling.slots}
    new = [
        ParameterAxis(layer.node, 2, 0, layer.ids, "shift")
        for layer in coupling.layers
        if layer.ids is not None
        and layer.node.input(2) is not None
        and (layer.node, 2) not in places
        and (bias := _bias(layer.node)) is not None
        and bias.shape == (len(layer.ids),)
    ]
    return replace(coupling, slots=(*coupling.slots, *new))
