"""What ``graphopt sensitivity`` tries: each layer alone on integers, of 8 bits and of 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphopt.pipeline import Trial

from .items import node_id, to_plan
from .plan_builder import PlanBuilder

BITS = (8, 4)  # fixed: of the integers that ONNX stores weights in


def trials(builder_of: Callable[[int], PlanBuilder]) -> Iterator[Trial]:
    """One trial for each layer and width; ``builder_of`` makes a builder for weights of so many bits.

    All other layers stay float, and nothing is rounded or corrected with care.
    """
    first = builder_of(BITS[0])
    names = [node_id(node) for node in first.draft({}).placement.layers]
    for bits in BITS:
        builder = builder_of(bits)
        builder.ranges = first.ranges
        for name in names:
            others = {other: "not tried now" for other in names if other != name}
            yield Trial(name, float(bits), to_plan(builder.draft(others).items))
