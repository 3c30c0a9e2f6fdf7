"""Pages of plain values: what draws them is registered by who puts graphopt together.

So records and analyses can be saved as a page without knowing their views.
"""

from __future__ import annotations

import importlib
from typing import Any

VIEWS: dict[str, str] = {}
"""Kinds of pages, each with the ``module:function`` that makes its text; imported when it is used."""


def rendered(kind: str, *values: Any) -> str:
    """The page of ``values``."""
    module, _, function = VIEWS[kind].partition(":")
    page: str = getattr(importlib.import_module(module), function)(*values)
    return page
