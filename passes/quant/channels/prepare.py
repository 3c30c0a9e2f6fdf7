"""What a plan does to channels before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..items import AbsorbItem, EqualiseItem, Item
from .absorption import absorb
from .chains import known_shapes
from .equalisation import equalise

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline import Context


def prepare(model: Model, items: Iterable[Item], ctx: Context) -> None:
    """Carry out what is done to channels before anything is stored; the report gets the tensors concerned."""
    given, shapes = list(items), known_shapes(model, ctx)
    changed = equalise(model.graph, [item for item in given if isinstance(item, EqualiseItem)], shapes)
    changed += absorb(model.graph, [item for item in given if isinstance(item, AbsorbItem)], shapes)
    if changed:
        ctx.details["rescaled"] = list(dict.fromkeys(changed))
