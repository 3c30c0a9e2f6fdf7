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

_LARGEST_COPY = 2**30  # weight bytes up to which a model is serialised to be measured


@dataclass(frozen=True)
class Cost:
    """Size and work of a model.

    ``nodes`` compute, Constant nodes left out (``constants`` counts those), subgraphs included.
    ``parameters`` are elements of weights.  ``macs`` is the sum over the layers that can be counted, None
    when none can; ``unknown`` names the operators left out of it.  ``bytes`` is the size of the serialised
    model.
    """

    nodes: int
    constants: int
    parameters: int
    macs: int | None
    bytes: int
    unknown: tuple[str, ...] = ()


def measure(
    model: Model, shapes: Mapping[str, Dims] | None = None, *, custom_ops: Sequence[str] = ()
) -> Cost:
    """Count nodes, parameters, multiply-accumulates and bytes; ``shapes`` are input dims by input name.

    Above 1 GiB ``bytes`` counts the weights alone.
    """
    every = layers(model, shapes, custom_ops=custom_ops)
    known = [layer.macs for layer in every if layer.macs is not None]
    unknown = tuple(sorted({layer.op for layer in every if layer.macs is None}))
    total = sum(known)
    large = model.weight_bytes > _LARGEST_COPY
    return Cost(
        nodes=len(every),
        constants=sum(1 for graph in model.graphs() for _ in graph.find("Constant")),
        parameters=parameters(model),
        macs=None if unknown and total == 0 else total,
        bytes=model.weight_bytes if large else len(model.to_bytes()),
        unknown=unknown,
    )
