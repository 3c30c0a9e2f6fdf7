"""What is in a model, as a page: its numbers, operators and layers, and where its work or time goes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from graphopt.analysis.layer_costs import worth_compressing
from graphopt.report.html.charts import wide
from graphopt.report.html.charts.roofline import roofline
from graphopt.report.html.costs import Shades, choices, cost_rows, shares
from graphopt.report.html.environment import render
from graphopt.report.html.graph_views import block_choices, graph_views, with_blocks
from graphopt.report.html.rows import mark_counts, shortened
from graphopt.report.terminal.layers import NOTHING_WORTH, timing_lines
from graphopt.report.terminal.models import port_cells
from graphopt.report.terminal.run import amount

if TYPE_CHECKING:
    from graphopt.analysis.inspection import Inspection
    from graphopt.analysis.layer_costs import LayerCost

MOST_COLUMNS = 400  # layers in a plot
MOST_HINTS = 10

Row = Mapping[str, Any]


def render_inspection(inspection: Inspection, command: Sequence[str] = (), model_sha256: str = "") -> str:
    """The page of an inspection; ``command`` and ``model_sha256`` tell how to repeat it."""
    view = _view(inspection)
    return render(
        "inspection.html.j2", {**view, "command": shlex.join(command), "model_sha256": model_sha256}
    )


def _view(inspection: Inspection) -> dict[str, Any]:
    from graphopt import __version__

    timed = inspection.timing is not None
    rows = cost_rows(inspection.layers, inspection.reads)
    rows = with_blocks(rows) if inspection.reads else rows
    shown = shortened(rows)
    return {
        "title": Path(inspection.path).name,
        "found": inspection,
        "version": __version__,
        "timed": timed,
        "verdict": _verdict(inspection.layers, timed),
        "cards": _cards(inspection),
        "worth": worth_compressing(inspection.layers)[:MOST_HINTS],
        "nothing_worth": NOTHING_WORTH,
        "sums": timing_lines(inspection.timing) if inspection.timing is not None else (),
        "ports": _ports(inspection),
        "ops": _operators(inspection),
        "rows": shown,
        "hidden_rows": len(rows) - len(shown),
        "keys": choices(shown, mark_counts(shown)),
        "graph": graph_views(rows if inspection.reads else ()),
        "blocks": block_choices(rows),
        "total": len(rows),
        "legends": _legends(rows, timed),
        "plots": _plots(rows, inspection),
    }


def _verdict(layers: Sequence[LayerCost], timed: bool) -> str:
    """One sentence: how few layers half of the cost lies in."""
    costs = sorted((layer.latency_ms if timed else layer.macs) or 0 for layer in layers)
    dear = [cost for cost in reversed(costs) if cost]
    if not dear:
        return ""
    count, reached = 0, 0.0
    while reached < sum(dear) / 2:
        reached += dear[count]
        count += 1
    cost = "the time goes into" if timed else "the multiply-accumulates are in"
    return f"Half of {cost} {count} of the {len(dear)} layers that {'take any' if timed else 'have any'}."


def _cards(inspection: Inspection) -> list[dict[str, str]]:
    """The headline numbers, each with a few words about it."""
    measures = inspection.measures
    size = next((f"at {'×'.join(map(str, shape))}" for shape in inspection.shapes.values()), "")
    cards = [
        ("File size", amount(measures.bytes, "B"), ""),
        ("Nodes", amount(measures.nodes), f"{len(inspection.ops)} operators"),
        ("Parameters", amount(measures.parameters), ""),
        ("MACs", amount(measures.macs), size),
    ]
    if measures.latency_ms is not None:
        threads = inspection.timing.machine.get("threads", 1) if inspection.timing is not None else 1
        cards.append(
            ("Latency", amount(measures.latency_ms, "ms"), f"{threads} thread{'s' if threads != 1 else ''}")
        )
    return [
        {"title": title, "before": "", "after": value, "change": note, "tone": "note"}
        for title, value, note in cards
    ]


def _ports(inspection: Inspection) -> list[dict[str, Any]]:
    """A row for each input and output: name, type, shape, sizes it runs at, and its range over samples."""
    sides = [("input", port, inspection.shapes) for port in inspection.inputs]
    sides += [("output", port, {}) for port in inspection.outputs]
    rows = []
    for side, port, shapes in sides:
        limits = inspection.ranges.get(port.name) if side == "input" else None
        text = "" if limits is None else f"{limits[0]:.6g} to {limits[1]:.6g}"
        rows.append({"side": side, "cells": port_cells(port, shapes, "×"), "range": text})
    return rows


def _operators(inspection: Inspection) -> list[dict[str, Any]]:
    """A row for each operator with what its nodes cost together, the most expensive first."""
    groups: dict[str, list[LayerCost]] = {op: [] for op in inspection.ops}
    for layer in inspection.layers:
        groups.setdefault(layer.op, []).append(layer)
    macs = [sum(layer.macs or 0 for layer in group) for group in groups.values()]
    times = [sum(layer.latency_ms or 0.0 for layer in group) for group in groups.values()]
    rows = [
        {
            "op": op,
            "nodes": inspection.ops.get(op, len(group)),
            "parameters": sum(layer.parameters for layer in group),
            "macs": work,
            "macs_share": work_share or 0.0,
            "ms": ms,
            "time_share": time_share or 0.0,
        }
        for (op, group), work, work_share, ms, time_share in zip(
            groups.items(), macs, shares(macs), times, shares(times), strict=True
        )
    ]
    return sorted(rows, key=lambda row: (row["ms"], row["macs"], row["nodes"]), reverse=True)


def _legends(rows: Sequence[Row], timed: bool) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The ways to colour the graph, the first of them at first: key, name, shades."""
    by_time = ("time", "by time", Shades([row["time_share"] for row in rows]).legend())
    by_macs = ("macs", "by MACs", Shades([row["macs_share"] for row in rows]).legend())
    return [by_time, by_macs] if timed else [by_macs]


def _plots(rows: Sequence[Row], inspection: Inspection) -> list[tuple[str, str, Markup]]:
    key, name, unit = (
        ("latency_ms", "Time", "ms") if inspection.timing else ("macs", "Multiply-accumulates", "MACs")
    )
    shown = [row for row in rows if row[key]]
    order = f"the first {MOST_COLUMNS}, " if len(shown) > MOST_COLUMNS else ""
    columns = wide.amounts(shown[:MOST_COLUMNS], key, unit)
    plots = [(f"{name} of each layer", f"{order}in the order they compute", columns)]
    if inspection.timing is not None:
        note = (
            "left of the bend layers wait for memory, right of it for arithmetic; large dots take much time"
        )
        plots.append(("Roofline", note, roofline(rows, inspection.timing)))
    return [(title, note, plot) for title, note, plot in plots if plot is not None]
