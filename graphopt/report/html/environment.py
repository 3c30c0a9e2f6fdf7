"""Templates of pages: every text escaped, every name known, and no script but ours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from graphopt.report.html.rows import chosen_options, pair_text
from graphopt.report.terminal.run import amount, decibel_text

SCRIPTS = ("graph.js", "sensitivity.js", "front.js", "report.js")


def render(template: str, view: Mapping[str, Any]) -> str:
    """Fill a template with what a view shows."""
    return _environment().get_template(template).render(**view)


@cache
def _environment() -> Environment:
    loader = PackageLoader("graphopt.report.html", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(amount=amount, decibel=decibel_text, pair=pair_text, chosen=chosen_options)
    script, style = "".join(map(_asset, SCRIPTS)), _asset("report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(script=Markup(script), style=Markup(style), script_hash=f"sha256-{digest}")
    return environment


def _asset(name: str) -> str:
    return (
        resources.files("graphopt.report.html")
        .joinpath("templates")
        .joinpath(name)
        .read_text(encoding="utf-8")
    )
