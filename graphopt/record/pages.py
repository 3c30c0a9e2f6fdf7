"""Pages of records: what draws them is found by name, since records know nothing of their views."""

from __future__ import annotations

import importlib
from typing import Any

VIEWS = "graphopt.report.html"


def rendered(kind: str, *values: Any) -> str:
    """The page that ``graphopt.report.html.render_KIND`` makes of values."""
    page: str = getattr(importlib.import_module(VIEWS), f"render_{kind}")(*values)
    return page
