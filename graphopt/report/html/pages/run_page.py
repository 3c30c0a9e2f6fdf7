"""Report files become pages: one run with everything about it, or several runs side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup

from graphopt.errors import UsageError
from graphopt.record.plots import charts
from graphopt.record.record import SCHEMA
from graphopt.report.html import summary
from graphopt.report.html.charts import wide
from graphopt.report.html.environment import render
from graphopt.report.html.graph_views import block_choices, graph_views, with_blocks
from graphopt.report.html.pages import comparison_page
from graphopt.report.html.risk import risks
from graphopt.report.html.rows import layer_rows, mark_counts, pass_colours, shortened
from graphopt.report.html.verdict import verdict

MOST_FIGURES = 120  # of one pass
MOST_FACTS = 1500  # memory: nodes whose attributes and weights are on the page, a kilobyte each
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError)  # from odd values
NEEDED = ("graphopt", "input", "before", "after", "passes", "machine", "calibration")


def read_report(path: Path) -> dict[str, Any]:
    """Read a report file of ``optimize``; UsageError when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the report {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a report file: {error}") from error
    if not isinstance(document, dict) or any(key not in document for key in NEEDED):
        raise UsageError(f"{path} is not a report of graphopt optimize", hint="make one with --report x.json")
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"the report {path} has schema {document.get('schema')}; this graphopt reads schema {SCHEMA}"
        )
    return document


def render_report(document: Mapping[str, Any]) -> str:
    """The page of one run from its report file.  Raises UsageError for values of the wrong kind."""
    return _render("report.html.j2", lambda: _report_view(document))


def render_comparison(documents: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The page that puts runs side by side; ``names`` are what they are called.

    Raises UsageError for values of the wrong kind.
    """
    return _render("comparison.html.j2", lambda: comparison_page.view(documents, names))


def _render(template: str, view: Callable[[], dict[str, Any]]) -> str:
    try:
        return render(template, view())
    except (*_WRONG, UndefinedError) as error:
        raise UsageError(
            f"the report holds values of the wrong kind: {type(error).__name__}: {error}",
            hint="only unedited report files of graphopt optimize become pages",
        ) from error


def _report_view(document: Mapping[str, Any]) -> dict[str, Any]:
    rows = with_blocks(layer_rows(document))
    shown = shortened(rows)
    return {
        "title": Path(str(document["input"])).name,
        "run": document,
        "cards": summary.cards(document),
        "in_short": summary.in_short(document),
        "verdict": verdict(document),
        "risk": risks(document, rows),
        "waterfalls": summary.waterfalls(document),
        "colours": pass_colours(document["passes"]),
        "rows": shown,
        "hidden_rows": len(rows) - len(shown),
        "has_latency": any(row["latency"] != (None, None) for row in rows),
        "keys": _filters(shown),
        "plots": _layer_plots(rows),
        "figures": _figures(document["passes"]),
        "graph": graph_views(rows),
        "blocks": block_choices(rows),
        "facts": _facts(rows),
        "total": len(rows),
        "skips": summary.skip_groups(document["passes"]),
        "command": shlex.join(map(str, document.get("command", ()))),
    }


def _facts(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the nodes are made of as JSON by row: of those that matter first, as many as fit the page."""
    listed = [row for row in rows if any(row["facts"])]
    first = sorted(listed, key=lambda row: not row["matters"])[:MOST_FACTS]
    return json.dumps({row["number"]: row["facts"] for row in first}, separators=(",", ":"))


def _filters(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """What rows can be filtered by, what it is called, and how many there are of each."""
    last = ("skipped", "removed", "added", "untouched")
    ordered = sorted(
        mark_counts(rows).items(), key=lambda item: last.index(item[0]) if item[0] in last else -1
    )
    return [(key, key, count) for key, count in ordered]


def _layer_plots(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Markup]]:
    weighted = [row for row in rows if row["macs"][0] and row["state"] == "kept"][:400]
    left = "what is left in front of what was there"
    plots = [
        ("Output channels", left, wide.columns(weighted, "channels", "channels")),
        ("Multiply-accumulates", left, wide.columns(weighted, "macs", "MACs")),
        ("SQNR", "original against result; higher is nearer", wide.signals(rows)),
    ]
    return [(title, note, plot) for title, note, plot in plots if plot is not None]


def _figures(passes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plots that passes left, those of a kind together."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in passes:
        for item in entry.get("figures", ()):
            group = groups.setdefault((str(entry["name"]), str(item["kind"])), [])
            if item["kind"] not in charts():
                continue  # its heading says so
            if len(group) < MOST_FIGURES:
                plot = charts().load(item["kind"]).draw(str(item["title"]), item["data"])
                group.append({"title": item["title"], "node": item.get("node", ""), "plot": plot})
            else:
                group[-1]["more"] = group[-1].get("more", 0) + 1
    return [
        {
            "pass": name,
            "kind": kind,
            "title": charts().load(kind).heading
            if kind in charts()
            else f"{kind}: no installed package draws plots of this kind",
            "plots": plots,
            "more": plots[-1].get("more", 0) if plots else 0,
        }
        for (name, kind), plots in groups.items()
    ]
