"""What a plan does to channels before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..items import AbsorbItem, EqualiseItem, Item, NormItem
from .absorption import absorb
from .chains import known_shapes
from .equalisation import equalise
from .norms import shift_and_scale

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline import Context


def prepare(model: Model, items: Iterable[Item], ctx: Context) -> list[str]:
    """Carry out what is done to channels before anything is stored, and return the tensors concerned."""
    given = [item for item in items if isinstance(item, (EqualiseItem, AbsorbItem, NormItem))]
    if not given:
        return []
    shapes = known_shapes(model, ctx)
    changed = equalise(model.graph, [item for item in given if isinstance(item, EqualiseItem)], shapes)
    changed += absorb(model.graph, [item for item in given if isinstance(item, AbsorbItem)], shapes)
    changed += shift_and_scale(model.graph, [item for item in given if isinstance(item, NormItem)])
    return list(dict.fromkeys(changed))
