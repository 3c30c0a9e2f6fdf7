"""The page itself: the model's graph and layers, and the script that steers."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from graphopt.report.html.costs import Shades, cost_rows
from graphopt.report.html.graph_views import graph_views
from graphopt.report.terminal.run import amount

if TYPE_CHECKING:
    from graphopt.ui.workbench import Workbench

SCRIPTS = (("graphopt.report.html", "graph.js"), ("graphopt.ui", "ui.js"))
STYLES = (("graphopt.report.html", "report.css"), ("graphopt.ui", "ui.css"))


def render_page(bench: Workbench) -> tuple[str, str]:
    """The page of a workbench, and the policy of what it may load: itself and nothing else."""
    script, style = (Markup("\n".join(_asset(*one) for one in files)) for files in (SCRIPTS, STYLES))
    digest = base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    text = _environment().get_template("ui.html.j2").render(script=script, style=style, **_view(bench))
    return text, policy


def _view(bench: Workbench) -> dict[str, Any]:
    from graphopt.data.preprocess.presets import PRESETS
    from graphopt.ui.workbench import TASKS

    inspection = bench.inspection
    rows = cost_rows(inspection.layers, inspection.reads)
    return {
        "title": bench.model.name,
        "measures": inspection.measures,
        "graph": graph_views(rows),
        "total": len(rows),
        "shades": Shades([row["macs_share"] for row in rows]).legend(),
        "layers": [
            {
                "number": row["number"],
                "name": row["name"],
                "op": row["op"],
                "text": " · ".join(
                    part
                    for part in (
                        row["shape"],
                        f"{amount(row['macs'])} MACs, {row['macs_share']:.1f} %" if row["macs"] else "",
                        f"{amount(row['parameters'])} parameters" if row["parameters"] else "",
                    )
                    if part
                ),
            }
            for row in rows
        ],
        "candidates": bench.candidates(),
        "tasks": TASKS,
        "presets": list(PRESETS),
    }


@cache
def _environment() -> Environment:
    loader = ChoiceLoader(
        [PackageLoader("graphopt.ui", "templates"), PackageLoader("graphopt.report.html", "templates")]
    )
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(amount=amount)
    return made


@cache
def _asset(package: str, name: str) -> str:
    return resources.files(package).joinpath("templates").joinpath(name).read_text(encoding="utf-8")
