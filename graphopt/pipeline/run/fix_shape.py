"""Declares the sizes a model runs at as its only ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.ir import Model, Shape


def fix_shapes(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Declare the sizes the model runs at as its only ones; other tensors' as far as they follow."""
    from graphopt import ir

    inferred = ir.infer_shapes(model, dict(shapes))
    symbols: dict[str, int] = {}
    for tensor in model.graph.inputs:
        if tensor.name in shapes:
            declared = tensor.shape or ()
            symbols |= {
                d: s for d, s in zip(declared, shapes[tensor.name], strict=False) if isinstance(d, str)
            }
            tensor.shape = shapes[tensor.name]
    for tensor in model.graph.outputs:
        shape: Any = inferred.get(tensor.name, tensor.shape)
        tensor.shape = _fixed(shape, symbols)
    for (
        graph
    ) in model.graphs():  # what is declared of inner tensors would contradict the inputs: tract refuses it
        for node in graph.nodes:
            for tensor in node.outputs:
                tensor.shape = _fixed(tensor.shape, symbols)


def _fixed(shape: Shape | None, symbols: Mapping[str, int]) -> Shape | None:
    """A shape whose symbols have their sizes, so far as they are known."""
    if shape is None or not any(dim in symbols for dim in shape):
        return shape
    return tuple(symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in shape)
