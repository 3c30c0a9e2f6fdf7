"""A measured front as the page shows it: figures of each point, and which rows of the graph it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.record.front import Front, FrontPoint


def figures(front: Front) -> dict[str, Any]:
    """The points that no other beats, the fastest first, as plain values."""
    return {
        "passes": front.passes,
        "saves": front.saves,
        "judged_by": front.judged_by,
        "evaluation": front.evaluation,
        "trials": len(front.trials),
        "said": list(front.said),
        "points": [_figures(point) for point in front.best],
    }


def changes(front: Front, name: str, rows: Mapping[str, int]) -> list[dict[str, Any]] | None:
    """What the point of this name changes in which layer; None without such a point.

    ``rows`` are those of the layers in the graph, which parts that a pass added do not have.
    """
    point = next((each for each in front.points if each.name == name), None)
    if point is None:
        return None
    return [
        {"step": step, "name": layer, "what": what, "row": rows.get(layer)}
        for step, layer, what in point.changes
        if step in point.trial.moves
    ]


def files(front: Front) -> dict[str, str]:
    """The files in the folder of a front by what the page calls them."""
    names = [point.name for point in front.points]
    models = {f"model-{name}": f"{name}.onnx" for name in names}
    return {"page": "front.html", **models, **{f"plan-{name}": f"{name}.plan.json" for name in names}}


def _figures(point: FrontPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "left": point.costs[0],
        "latency": point.latency,
        "bytes": point.bytes,
        "macs": point.macs,
        "lost": point.quality,
        "low": point.lost_low,
        "high": point.lost_high,
        "upper": point.trial.upper if point.lost is None else None,
        "sqnr_db": point.sqnr_db,
        "moves": dict(point.trial.moves),
    }
