"""Shapes of the tensors around the layers of a model: inferred, and measured where inference cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.cost.static.macs import Dims, counts_macs
from graphopt.errors import DataError, ModelError
from graphopt.runtime import plausible_samples, tensor_shapes
from graphopt.runtime.model_source import LARGEST_COPY

if TYPE_CHECKING:
    from graphopt.ir import Model


def known_shapes(
    model: Model, shapes: Mapping[str, Dims], custom_ops: Sequence[str], *, every: bool = False
) -> dict[str, ir.Shape]:
    """Shapes by tensor name; ``shapes`` are the dims of the inputs.

    What inference leaves open is measured: around layers, or with ``every`` of all tensors.
    """
    inferred = ir.infer_shapes(model, dict(shapes))
    missing = _missing(model, inferred, every)
    given = (shapes.get(port.name, port.shape) for port in model.signature.inputs)
    if not missing or any(ir.static_shape(dims) is None for dims in given):
        return inferred
    if model.weight_bytes > LARGEST_COPY:
        return inferred
    try:
        return {**inferred, **_measured(model, missing, shapes, custom_ops)}
    except (ModelError, DataError):
        return inferred  # a model that does not run here still has layers; their cost is reported as unknown


def _missing(model: Model, inferred: Mapping[str, ir.Shape], every: bool) -> list[str]:
    """Tensors around counted layers, or all, whose shape inference left open."""
    around = (
        tensor.name
        for node in model.graph.nodes
        if every or counts_macs(node)
        for tensor in (*node.inputs, *node.outputs)
        if tensor.name and not isinstance(tensor, ir.Constant)
    )
    return [name for name in dict.fromkeys(around) if ir.static_shape(inferred.get(name)) is None]


def _measured(
    model: Model, names: Sequence[str], shapes: Mapping[str, Dims], custom_ops: Sequence[str]
) -> dict[str, Dims]:
    samples = plausible_samples(model, shapes, count=1)
    return tensor_shapes(model, names, next(iter(samples)).feeds, custom_ops=custom_ops)
