"""What ``graphopt sensitivity`` tries: each layer alone on integers, of 8 bits and of 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphopt.ir import Model
from graphopt.pipeline import Trial

from .items import node_id, to_plan
from .plan_builder import PlanBuilder

BITS = (8, 4)  # fixed: of the integers that ONNX stores weights in


def trials(model: Model, drafter: Callable[[int], PlanBuilder]) -> Iterator[Trial]:
    """One trial for each layer and width; ``drafter`` makes one for weights of so many bits.

    All other layers stay float, and nothing is rounded or corrected with care.  ``model`` is left as it was.
    """
    start = model.snapshot()
    found = []
    try:
        first = drafter(BITS[0])
        names = [node_id(node) for node in first.draft({}).placement.layers]
        for bits in BITS:
            model.restore(start)
            made = drafter(bits)
            made.ranges = first.ranges
            for name in names:
                others = {other: "not tried now" for other in names if other != name}
                found.append(Trial(name, float(bits), to_plan(made.draft(others).items)))
    finally:
        model.restore(start)
    yield from found
