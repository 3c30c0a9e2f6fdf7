"""Whether quantization makes a file smaller: what integers save, and what their scales and nodes weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.ir import Model
from graphopt.ir.io.protos import tensors_in

if TYPE_CHECKING:
    from graphopt.pipeline import Context


def file_bytes(model: Model) -> int:
    """The bytes of a model's graph and constants, but for a few bytes of framing."""
    proto, weights = model.proto(), model.weights
    kept = sum(weights.nbytes(t) for t in tensors_in(proto.graph) if weights.is_held(t))
    return proto.ByteSize() + kept


def growth(before: int, after: int) -> str:
    """By how much a file grows, in words; empty when it does not."""
    if after <= before:
        return ""
    return (
        f"{_kilobytes(after)} instead of {_kilobytes(before)}: scales and nodes weigh more than integers save"
    )


def warn_of_growth(before: int, model: Model, ctx: Context) -> None:
    """Say so when the model has become larger than ``before`` bytes."""
    if words := growth(before, file_bytes(model)):
        ctx.warn(f"quant: the model grows to {words}")


def _kilobytes(size: int) -> str:
    return f"{size / 1000:.1f} KB"
