"""A plot of one number: ``value``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from graphopt.record.plots import Chart
from graphopt.report.html.markup import svg, text


def thin(data: Mapping[str, Any]) -> dict[str, float]:
    """Keep the number."""
    return {"value": float(data["value"])}


def draw(title: str, data: Mapping[str, Any]) -> Markup:
    """Write it large."""
    return svg(300, 60, text(150, 40, f"{data['value']:.3g}", "dial", "middle"), label=title)


DIAL = Chart("One number", thin, draw)
