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


def prepare(model: Model, items: Iterable[Item], ctx: Context) -> list[str]:
    """Carry out what is done to channels before anything is stored, and return the tensors concerned."""
    given = [item for item in items if isinstance(item, (EqualiseItem, AbsorbItem))]
    if not given:
        return []
    shapes = known_shapes(model, ctx)
    changed = equalise(model.graph, [item for item in given if isinstance(item, EqualiseItem)], shapes)
    changed += absorb(model.graph, [item for item in given if isinstance(item, AbsorbItem)], shapes)
    return list(dict.fromkeys(changed))
