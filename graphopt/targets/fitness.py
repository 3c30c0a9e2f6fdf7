"""Whether a float model is one that a target runs: what its user should know before deploying it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir.declared import static_shape
from graphopt.ir.transform.shortcut import takes_steps

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.targets.target import Target


def misfits(model: Model, target: Target) -> list[str]:
    """Sentences about what the backend of ``target`` refuses in ``model``; empty when there is nothing."""
    return list(_misfits(model, target))


def _misfits(model: Model, target: Target) -> Iterator[str]:
    name = target.runtime
    if model.opset < target.opset_floor:
        yield (
            f"{name} reads opset {target.opset_floor} and later, and the model has {model.opset}: "
            f"the pass clean:opset={target.opset_floor} raises it"
        )
    if target.opset_max is not None and model.opset > target.opset_max:
        yield f"{name} reads opsets up to {target.opset_max}, and the model has {model.opset}"
    if not target.ir_min <= model.ir_version <= (target.ir_max or model.ir_version):
        limits = f"from {target.ir_min}" if target.ir_max is None else f"{target.ir_min} to {target.ir_max}"
        yield f"{name} reads IR versions {limits}, and the model has {model.ir_version}"
    if target.static_shapes:
        for port in model.signature.inputs:
            if static_shape(port.shape) is None:
                yield f"{name} needs fixed sizes, which --fix-shape declares: the input {port.name} has none"
    nodes = [node for graph in model.graphs() for node in graph.nodes if node.is_standard]
    avoided = sorted({node.op for node in nodes if node.op in target.avoid})
    if avoided:
        yield f"{name} does not run {', '.join(avoided)}, which the model has"
    if not target.half and any(tensor.dtype == np.float16 for node in nodes for tensor in node.outputs):
        yield f"{name} does not run float16, which the model has"
    if not target.slice_steps and (sliced := [node for node in nodes if takes_steps(node)]):
        first = sliced[0].name or sliced[0].output.name
        yield (
            f"{name} fails or answers wrongly where a Slice has steps other than 1, which the model has "
            f"({len(sliced)}, the first is {first}): check the file with --verify-backend"
        )
