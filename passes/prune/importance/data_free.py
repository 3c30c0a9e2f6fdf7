"""Pruning without data: what readers lose, and what their biases take over, by expected values.

The cost of a channel is the variance that it brings into the layers that read it, relative to the variance of
what these go into; its mean is taken over by their biases (bias correction: M. Nagel et al., 2019).  This is
for what hardly matters: where much goes, fitting to synthetic samples keeps far more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.calibration import Patches
from graphopt.ir.transform.residual import goes_into
from graphopt.solve.limits import TINY

from ..coupling.builder import label
from ..coupling.coupling import Coupling
from ..coupling.groups import Group
from ..coupling.ids import Ids
from ..coupling.parameter_axes import ParameterAxis
from ..selection.predict import Keep
from .consumers import Reader, side_by_side
from .moment_propagation import Moments, Notes, expected_moments, spread_out
from .obs import rank, readers_by_cell
from .ranking import Ranking

NOTE = "batch_norm"  # where fold-bn leaves gamma and beta


@dataclass(frozen=True)
class Corrected:
    """A layer whose bias took something over."""

    layer: str
    what: str = "its bias takes over what the channels that went were on average"


def can_predict(coupling: Coupling, notes: Notes) -> bool:
    """Whether normalisations say what most layers make; where they do not, synthetic samples say more."""
    layers = [layer.node.output.name for layer in coupling.layers if layer.ids is not None]
    return bool(layers) and 2 * sum(name in notes for name in layers) >= len(layers)


def predicted_rankings(
    model: ir.Model, coupling: Coupling, cells: Sequence[Group], dead: Ids, notes: Notes
) -> list[Ranking]:
    """Rank the channels of each cell; classes in ``dead`` go first."""
    moments = expected_moments(model, notes)
    readers = side_by_side([_reader(slot, patches, moments) for slot, patches in _layers(coupling)])
    pairs = zip(cells, readers_by_cell(coupling, cells, readers), strict=True)
    return [rank(coupling, cell, reading, dead) for cell, reading in pairs]


def _layers(coupling: Coupling) -> Iterator[tuple[ParameterAxis, Patches]]:
    for slot in coupling.slots:
        patches = Patches.of(slot.node) if slot.role == "in" and slot.index == 1 else ""
        if isinstance(patches, Patches):
            yield slot, patches


def _reader(slot: ParameterAxis, patches: Patches, moments: dict[str, Moments]) -> Reader:
    """A layer with the variance of each of its inputs; all alike where they cannot be predicted."""
    read = _read(slot, moments)
    matrix = patches.matrix(slot.values) * float(slot.node.attr("alpha", 1.0))  # of a Gemm
    variance = np.ones(len(slot.ids)) if read is None else read.variance
    squares = spread_out(variance, patches)
    after = moments.get(goes_into(slot.node).name)
    own = float(np.einsum("gn,gno->", squares, np.square(matrix)))
    total = own if after is None else float(after.variance.sum())
    return Reader(slot, patches, matrix, squares, 1.0 / (total + TINY))


def _read(slot: ParameterAxis, moments_by_name: dict[str, Moments]) -> Moments | None:
    """What a layer reads of each channel."""
    moments = moments_by_name.get(slot.node.inputs[0].name)
    return moments if moments is not None and len(moments.mean) == len(slot.ids) else None


def correct_biases(model: ir.Model, coupling: Coupling, keep: Keep, notes: Notes) -> list[Corrected]:
    """Let biases take over the means of the channels outside ``keep``; no layer gets narrower yet."""
    moments, done = expected_moments(model, notes), []
    for slot, patches in _layers(coupling):
        gone, read = ~coupling.kept(slot.ids, keep), _read(slot, moments)
        if gone.any() and read is not None and _shift(slot, patches, read.mean * gone):
            done.append(Corrected(label(slot.node)))
    return done


def _shift(slot: ParameterAxis, patches: Patches, means: np.ndarray) -> bool:
    """Add what a layer makes of these inputs to its bias, if it has or can have one."""
    node, weight = slot.node, slot.values
    bias = node.input(2)
    values = np.zeros(1, weight.dtype) if bias is None else bias.constant
    if node.op == "MatMul" or values is None or values.ndim > 1:
        return False
    scale, shift = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    made = np.einsum("gn,gno->go", spread_out(means, patches), patches.matrix(weight) * scale).ravel()
    assert node.graph is not None
    node.graph.set_constant(node, 2, (values.astype(np.float64) + made / shift).astype(weight.dtype))
    return True
