"""The weights that can be made sparse, and how they look as matrices of inputs by outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.calibration import Patches
from graphopt.ir.transform.linear import LAYERS
from graphopt.solve import has_affordable_gram


@dataclass(frozen=True)
class Layer:
    """One constant weight and the nodes that read it; the first of them says how it is used."""

    nodes: tuple[ir.Node, ...]
    patches: Patches

    @property
    def node(self) -> ir.Node:
        """The node that the layer is called after."""
        return self.nodes[0]

    @property
    def name(self) -> str:
        """The name a user knows the layer by."""
        return str(self.node.name or self.node.output.name)

    @property
    def tensor(self) -> ir.Tensor:
        """The weight."""
        return self.node.inputs[1]

    @property
    def values(self) -> ir.Array:
        """The weight's values."""
        values = self.tensor.constant
        assert values is not None
        return values

    @property
    def is_fittable(self) -> bool:
        """Whether a Gram matrix can say what its weights are worth."""
        plain = self.node.attr("alpha", 1.0) == 1.0 and self.node.attr("beta", 1.0) == 1.0
        groups, unknowns, _ = self.patches.shape(self.values.shape)
        return len(self.nodes) == 1 and has_affordable_gram(groups, unknowns) and plain

    def matrix(self) -> np.ndarray:
        """The weights as (groups, n, outputs), float64, n ordered kernel position first, then channel.

        So consecutive inputs are consecutive channels at one place, as N:M kernels want them.
        """
        return self.patches.matrix(self.values)[:, self.order()]

    def sizes(self) -> np.ndarray:
        """The sizes of the weights in their own precision, (groups, outputs, n) with n as in ``matrix``."""
        return np.abs(self.matrix()).transpose(0, 2, 1).astype(self.values.dtype)

    @property
    def channels(self) -> int:
        """How many channels one output reads."""
        return self.patches.shape(self.values.shape)[1] // math.prod(self.patches.kernel)

    def order(self) -> np.ndarray:
        """Where each row of ``matrix`` stands in the order of ``Patches``: channel, then kernel position."""
        unknowns, taps = (
            self.patches.shape(self.values.shape)[1],
            int(np.prod(self.patches.kernel, dtype=int)),
        )
        return np.arange(unknowns).reshape(-1, taps).T.ravel()

    def store(self, matrix: np.ndarray) -> None:
        """Write the weights back, for all nodes that read them."""
        plain = np.empty_like(matrix)
        plain[:, self.order()] = matrix
        values = np.ascontiguousarray(self.patches.weight(plain).astype(self.values.dtype))
        graph = self.node.graph
        assert graph is not None
        new = graph.add_constant(self.tensor.name, values)
        old = self.tensor
        for node in self.nodes:
            for index, tensor in enumerate(node.inputs):
                if tensor is old:
                    node.inputs[index] = new


def find_layers(model: ir.Model) -> Iterator[Layer | tuple[ir.Node, str]]:
    """Yield each weight of the main graph once, in order, or a node with the reason why its weight stays."""
    seen: set[ir.Tensor] = set()
    for node in model.graph.nodes:
        if node.op not in LAYERS or not node.is_standard:
            continue
        weight = node.input(1)
        values = None if weight is None else weight.constant
        if weight is None or values is None:
            yield node, "its weights are not constant"
        elif weight not in seen:
            seen.add(weight)
            patches = Patches.of(node)
            readers = tuple(weight.consumers)
            if values.dtype.kind != "f":
                yield node, "its weights are not floating-point numbers"
            elif isinstance(patches, str):
                yield node, patches
            elif any(reader.op != node.op or reader.graph is not model.graph for reader in readers):
                yield node, "something else reads its weights too"
            else:
                yield Layer(readers, patches)
