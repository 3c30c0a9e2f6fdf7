"""What one layer should come to, and what its readers see of that."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.ir.analysis.operators import clip_bounds
from graphopt.ir.transform.layer_bias import biased_output
from graphopt.ir.transform.residual import goes_into
from graphopt.solve import LayerRegression, has_affordable_gram

from ..coupling.parameter_axes import ParameterAxis

if TYPE_CHECKING:
    from typing_extensions import Self

ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Task(LayerRegression):
    """One layer to fit in a pruned network, what readers see of its target, and the channels it reads.

    Readers see the target clamped to ``seen``, as a Relu or Clip does it: an error outside does not matter.
    """

    seen: tuple[float, float]
    slots: tuple[ParameterAxis, ...]  # along which the weights follow the channels that the layer reads

    def _alone(self) -> Self:
        return replace(super()._alone(), seen=_seen(biased_output(self.node)))


def task_of(node: ir.Node, slots: tuple[ParameterAxis, ...], final: Set[str]) -> Task | str:
    """Return how to fit a layer, or why it is left as it is.

    ``final`` are the tensors that stay as they are once all layers before this one are.
    """
    aim = LayerRegression.of(node, final)
    if isinstance(aim, str):
        return aim
    groups, unknowns, _ = aim.patches.shape(aim.weight.shape)
    if not has_affordable_gram(groups, unknowns):
        return "it reads too much at a time"
    target = biased_output(node) if aim.branch is None else goes_into(node)
    return Task(node, aim.patches, aim.target, aim.branch, _seen(target), slots)


def _seen(tensor: ir.Tensor) -> tuple[float, float]:
    """What all readers clamp a tensor to."""
    graph = tensor.producer.graph if tensor.producer is not None else None
    if not tensor.consumers or graph is None or graph.is_output(tensor):
        return ANYTHING
    ranges = {clip_bounds(node) or ANYTHING for node in tensor.consumers}
    return ranges.pop() if len(ranges) == 1 else ANYTHING
