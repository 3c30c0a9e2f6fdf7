"""What a whole model costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.cost.layers import layers
from graphopt.cost.macs import Dims
from graphopt.cost.parameters import parameters

if TYPE_CHECKING:
    from graphopt.ir import Model


@dataclass(frozen=True)
class Cost:
    """Size and work of a model.

    ``nodes`` compute, Constant nodes left out (``constants`` counts those), subgraphs included.
    ``parameters`` are elements of weights.  ``macs`` is the sum over the layers that can be counted, None
    when none can; ``unknown`` names the operators left out of it.
    """

    nodes: int
    constants: int
    parameters: int
    macs: int | None
    unknown: tuple[str, ...] = ()


def measure(
    model: Model, shapes: Mapping[str, Dims] | None = None, *, custom_ops: Sequence[str] = ()
) -> Cost:
    """Count nodes, parameters and multiply-accumulates; ``shapes`` are input dims by input name."""
    every = layers(model, shapes, custom_ops=custom_ops)
    known = [layer.macs for layer in every if layer.macs is not None]
    unknown = tuple(sorted({layer.op for layer in every if layer.macs is None}))
    total = sum(known)
    return Cost(
        nodes=len(every),
        constants=sum(1 for graph in model.graphs() for _ in graph.find("Constant")),
        parameters=parameters(model),
        macs=None if unknown and total == 0 else total,
        unknown=unknown,
    )
