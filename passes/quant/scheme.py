"""What is asked for, held against what the target allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.errors import ModelError, UsageError
from graphopt.ir import Model, Node
from graphopt.targets import Grid, Target

from .items import Item, PerChannelReadItem, TensorItem, WeightItem
from .placement.rules import scale_axis

if TYPE_CHECKING:
    from graphopt.pipeline import Context

FIRST_OPSET, OPSET, WIDE_OPSET = 10, 13, 21  # fixed: of pairs, of scales by channel, of 16-bit integers
WIDE = ("uint16", "int16")


@dataclass(frozen=True)
class Scheme:
    """The grids of one run on a target, and the opset of the result."""

    target: Target
    activation: Grid
    per_channel: bool
    opset: int = OPSET

    @property
    def fixed(self) -> Mapping[str, tuple[float, int]]:
        """Scale and zero point that results of some operators must have."""
        return (self.target.operators.fixed_16 or {}) if self.activation.dtype == "uint16" else {}

    def of(self, dtype: str) -> Scheme:
        """The same with activations in other integers, which the target must allow."""
        opset = max(self.opset, WIDE_OPSET) if dtype in WIDE else self.opset
        return replace(self, activation=replace(self.activation, dtype=dtype), opset=opset)

    def axis(self, node: Node) -> int | None:
        """The axis along which the weight of a layer has its scales; None for one scale."""
        return scale_axis(node, self.target) if self.per_channel else None


def resolve(target: Target, activations: str | None, symmetric: bool | None, per_channel: bool) -> Scheme:
    """The scheme of a run; UsageError names what the target allows."""
    allowed = target.allowed
    grid = target.activation
    if activations is not None:
        _require(target, "activations", activations, allowed.activations)
        grid = replace(grid, dtype=activations)
    if symmetric is not None:
        _require(target, "symmetric", symmetric, allowed.symmetric)
        grid = replace(grid, symmetric=symmetric)
    opset = WIDE_OPSET if grid.dtype in WIDE else max(OPSET, target.opset_min)
    return Scheme(target, grid, per_channel, opset)


def raise_opset(model: Model, scheme: Scheme, warn: Callable[[str], None]) -> Scheme:
    """Convert the model to the opset of the scheme, or take the scheme back to what its opset can say.

    Raises ModelError when neither is possible.
    """
    try:
        ir.convert_opset(model, scheme.opset)
    except ModelError as error:
        if scheme.opset > OPSET and scheme.activation.dtype not in WIDE:
            return raise_opset(model, replace(scheme, opset=OPSET), warn)
        if model.opset < FIRST_OPSET or scheme.activation.dtype in WIDE:
            raise
        warn(f"quant: one scale for each whole weight, since those by channel need opset {OPSET}: {error}")
        return replace(scheme, per_channel=False, opset=model.opset)
    return scheme


def convert(model: Model, least: int, ctx: Context) -> None:
    """Convert the model to the opset that the target's files with pairs have, at least to ``least``.

    Raises ModelError when it cannot become ``least``; where only the target asks for more, that is said.
    """
    if ctx.target.opset_min > max(least, OPSET):
        try:
            ir.convert_opset(model, ctx.target.opset_min)
        except ModelError as error:
            ctx.warn(f"quant: {ctx.target.name} means opset {ctx.target.opset_min}: {error}")
    ir.convert_opset(model, least)


def opset_of(items: Iterable[Item]) -> int:
    """The least opset that can say what a plan stores."""
    least = FIRST_OPSET
    for item in items:
        if isinstance(item, TensorItem) and item.parameters.dtype in WIDE:
            return WIDE_OPSET
        if isinstance(item, PerChannelReadItem) or (isinstance(item, WeightItem) and item.axis is not None):
            least = OPSET
    return least


def _require(target: Target, name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        texts = ", ".join(str(a).lower() for a in allowed)
        raise UsageError(
            f"quant: {name}={str(value).lower()} is not for the target {target.name}, which takes {texts}",
            hint="leave the option out, or choose another --target",
        )
