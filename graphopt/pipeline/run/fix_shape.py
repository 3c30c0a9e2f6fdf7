"""Declares the sizes a model runs at as its only ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.ir import Model


def fix_shapes(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Declare the sizes the model runs at as its only ones; outputs as far as they follow."""
    from graphopt import ir

    known = ir.infer_shapes(model, dict(shapes))
    symbols: dict[str, int] = {}
    for tensor in model.graph.inputs:
        if tensor.name in shapes:
            declared = tensor.shape or ()
            symbols |= {
                d: s for d, s in zip(declared, shapes[tensor.name], strict=False) if isinstance(d, str)
            }
            tensor.shape = shapes[tensor.name]
    for tensor in model.graph.outputs:
        shape = known.get(tensor.name, tensor.shape)
        if shape is not None:
            tensor.shape = tuple(symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in shape)
