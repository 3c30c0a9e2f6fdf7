"""What is reported besides changes: what really runs on integers, and what makes less of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.ir import Model
from graphopt.ir.transform.linear import LAYERS
from graphopt.targets.host import runs_here

from .placement.placement import Placement
from .verify.kernels import summary, unfused, verify_fusion

if TYPE_CHECKING:
    from graphopt.pipeline import Context

ISLANDS = 4  # shown: more than one island for so many layers is worth a warning


def tell_fusion(model: Model, ctx: Context) -> None:
    """Tell what onnxruntime makes of the planned operators."""
    if not runs_here(ctx.target):
        return
    operators = verify_fusion(model, ctx.settings.session.custom_ops)
    ctx.reported(summary(operators), fusion=[operator.to_json() for operator in operators])
    for op, count in unfused(operators).items():
        ctx.warn(f"quant: {count} planned {op} run in float; the report lists them under fusion")


def tell_limits(placement: Placement, ctx: Context) -> None:
    """Say what makes the result less than it could be."""
    if ctx.calibration_is_synthetic:
        ctx.warn("quant: ranges come from synthetic samples; give real ones with --calibration")
    islands = sum(node.op not in LAYERS for node, _ in placement.skips)
    if islands * ISLANDS > len(placement.layers):
        ctx.warn(
            f"quant: {islands} operators run in float between {len(placement.layers)} integer layers, "
            "which may cost more than it gains: compare the latency"
        )
    if ctx.target.checked == "rules":
        ctx.warn(f"quant: the result is checked against the rules of {ctx.target.name}, not run there")
