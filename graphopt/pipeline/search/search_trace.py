"""What a search by trial tried, as a plot: what each trial leaves of the model, and how it degrades."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from graphopt.pipeline.contract.context import Context
    from graphopt.pipeline.search.degradation import Degradation

Step = TypeVar("Step")


class SearchTrace(Generic[Step]):
    """Remembers how each step that was tried degrades; ``left`` is the share of the model a step leaves."""

    def __init__(self, left: Callable[[Step], float]) -> None:
        self._left = left
        self._ways: dict[str, dict[float, float]] = {}  # degradation in points by the share that is left

    def note(self, step: Step, degradation: float, way: str = "tried") -> None:
        """Take the degradation of a step, in points; ``way`` names how it was compressed, a line for each."""
        self._ways.setdefault(way, {})[self._left(step)] = degradation

    def leave(
        self, ctx: Context, chosen: Step, measured: Degradation, limit: float, what: str = "MACs"
    ) -> None:
        """Leave the plot in the report, with ``chosen`` marked; ``what`` names what shares are of."""
        x = sorted({left for points in self._ways.values() for left in points})
        if not x:
            return
        lines = [{"name": way, "y": [points.get(at) for at in x]} for way, points in self._ways.items()]
        data = {
            "x": x,
            "series": lines,
            "x_label": f"share of {what} left",
            "y_label": f"points: {measured.kind}",
            "marks": [{"x": self._left(chosen), "label": "chosen"}],
            "limit": limit,
        }
        ctx.figure("lines", f"degradation against {what} left", data)
