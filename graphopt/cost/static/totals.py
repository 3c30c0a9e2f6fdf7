"""What a whole model costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.cost.static.layers import computes, counted_macs
from graphopt.cost.static.macs import Dims
from graphopt.cost.static.parameters import parameters

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
    macs_by_op = counted_macs(model, shapes, custom_ops=custom_ops)
    unknown = tuple(sorted(op for op, macs in macs_by_op if macs is None))
    total = sum(macs for _, macs in macs_by_op if macs is not None)
    return Cost(
        nodes=count_nodes(model),
        constants=sum(1 for graph in model.graphs() for _ in graph.find("Constant")),
        parameters=parameters(model),
        macs=None if unknown and total == 0 else total,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def count_nodes(model: Model) -> int:
    """Nodes that compute, those of subgraphs included: all but the Constant nodes."""
    return sum(sum(map(computes, graph.nodes)) for graph in model.graphs())
