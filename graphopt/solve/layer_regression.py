"""Fit one layer of a changed network to what the original computed: what to aim at, and what decides.

The rows that the layer reads come from the changed network, whose layers before it are final; the targets
from the original, so each layer undoes what it can of all errors before it (asymmetric reconstruction: X.
Zhang et al., 2015).  Where a residual addition follows, the target is the original sum minus the changed
network's other branch (Y. He et al., 2017).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import ActivationCheckpoint, Gram, Patches
from graphopt.ir.transform.layer_bias import Bias, biased_output, vector_bias
from graphopt.ir.transform.residual import residual_sum
from graphopt.solve.holdout import judges
from graphopt.solve.least_squares import RELATIVE, Fit, damping, squared_error

if TYPE_CHECKING:
    from typing_extensions import Self

# measured (constants): damping with few rows for each channel, and nothing to lend weight to each other
DEPTHWISE = 1e-2


@dataclass(frozen=True)
class LayerRegression:
    """One layer to fit: what it reads and what it should come to."""

    node: ir.Node
    patches: Patches
    target: str  # of the original: the layer's output, or the sum it goes into
    branch: str | None  # the other summand, in the changed network

    @classmethod
    def of(cls, node: ir.Node, final: Collection[str]) -> LayerRegression | str:
        """Return how to fit a layer, or why it cannot be; ``final`` names tensors that no longer change."""
        patches = Patches.of(node)
        if isinstance(patches, str):
            return patches
        weight, bias = node.inputs[1].constant, node.input(2)
        assert weight is not None
        if len(node.inputs[1].consumers) > 1:
            return "another layer shares its weights"
        if weight.dtype.kind != "f":
            return f"its weights are {weight.dtype.name}"
        if bias is not None and (bias.constant is None or bias.constant.ndim > 1):
            return "its bias is computed or a matrix"
        return cls(node, patches, *_target(node, final))

    def settled(self, changed: ActivationCheckpoint) -> Self:
        """Return the same, aimed at the layer's own output where the sum it goes into broadcasts."""
        if self.branch is None:
            return self
        source = self.node.inputs[0].name
        values = next(changed.stream([source, self.branch]))
        made = self.patches.result(values[source].shape, self.weight.shape)
        return self if values[self.branch].shape == made else self._alone()

    def _alone(self) -> Self:
        return replace(self, target=biased_output(self.node).name, branch=None)

    @property
    def biased(self) -> bool:
        """Whether a constant is fitted too."""
        return self.node.op != "MatMul" or vector_bias(self.node) is not None

    @property
    def weight(self) -> ir.Array:
        """The layer's weights as they stand in the model."""
        values = self.node.inputs[1].constant
        assert values is not None
        return values

    def matrix(self) -> np.ndarray:
        """Return the layer's weights with its bias as a last row, (groups, n, outputs)."""
        node = self.node
        matrix = self.patches.matrix(self.weight) * float(node.attr("alpha", 1.0))
        if not self.biased:
            return matrix
        place = vector_bias(node)
        row = np.zeros(1) if place is None else np.asarray(place.values, np.float64)
        row = np.broadcast_to(row * float(node.attr("beta", 1.0)), matrix.shape[0] * matrix.shape[2])
        return np.concatenate([matrix, row.reshape(matrix.shape[0], 1, -1)], axis=1)

    def store(self, matrix: np.ndarray) -> None:
        """Write a matrix such as ``matrix()`` into the layer."""
        node, graph, dtype = self.node, self.node.graph, self.weight.dtype
        assert graph is not None
        scale, shift = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
        inner = matrix[:, :-1] if self.biased else matrix
        graph.set_constant(node, 1, np.ascontiguousarray(self.patches.weight(inner / scale).astype(dtype)))
        place = vector_bias(node)
        if place is not None or (self.biased and matrix[:, -1].any()):
            place = place or Bias(node, 2)
            graph.set_constant(place.node, place.index, (matrix[:, -1].ravel() / shift).astype(dtype))

    @property
    def is_depthwise(self) -> bool:
        """Whether every group makes a few outputs of one input."""
        groups = self.patches.groups
        if self.node.op == "ConvTranspose":  # (inputs, outputs of a group, ...)
            return groups > 1 and self.weight.shape[0] == groups
        return groups > 1 and self.weight.shape[1] == 1

    def solver(self, gram: np.ndarray, rows: int, alive: float = 1.0) -> Fit:
        """What gives the weights closest to targets, held to the current ones for want of data.

        ``rows`` is how many rows ``gram`` sums up, ``alive`` the share of inputs that are not always zero.
        """
        relative = (DEPTHWISE if self.is_depthwise else RELATIVE) / max(alive, 1e-3)
        return Fit(gram, damping(gram, relative, bias=self.biased, rows=rows))

    def solve(self, sums: Gram, current: np.ndarray) -> np.ndarray:
        """Return the weights that come closest to the target, held to the current ones for want of data."""
        return self.solver(sums.gram, sums.count)(sums.cross, current)

    def error(self, sums: Gram, weights: np.ndarray) -> float:
        """Return the squared error of weights as a share of the target's variance."""
        energy = float(sums.energy.sum())
        if self.biased:
            energy -= float(np.square(sums.cross[:, -1]).sum()) / max(sums.count, 1)
        return squared_error(sums.gram, sums.cross, sums.energy, weights) / max(energy, 1e-30)

    def collect(
        self, old: ActivationCheckpoint, new: ActivationCheckpoint, seed: int, then: Sequence[str] = ()
    ) -> tuple[Gram, Gram]:
        """Return the sums over the samples to fit to, and over those that only judge (see ``judges``).

        On the way the original's cut moves on to ``then``, which takes no run of its own.
        """
        fitted, judged = (Gram(self.patches, bias=self.biased, seed=seed) for _ in range(2))
        for number, (values, target) in enumerate(self._pairs(old, new, then)):
            (judged if judges(number, old.samples) else fitted).update(values, target)
        return fitted, judged

    def _pairs(
        self, old: ActivationCheckpoint, new: ActivationCheckpoint, then: Sequence[str]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        source = self.node.inputs[0].name
        names = [source] if self.branch is None else [source, self.branch]
        for there, here in zip(old.stream([self.target], then), new.stream(names), strict=True):
            wanted = there[self.target]
            yield here[source], wanted if self.branch is None else wanted - here[self.branch]


def _target(node: ir.Node, final: Collection[str]) -> tuple[str, str | None]:
    """The tensor to aim at: a residual sum when its other summand is final, else the output itself."""
    addition = residual_sum(node)
    if addition is not None:
        first, second = addition.inputs
        other = second if first is biased_output(node) else first
        if other.name in final:
            return addition.output.name, other.name
    return biased_output(node).name, None
