"""The smaller sisters of static quantization: dynamic, and weights alone.  Both need no samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphopt import ir, runtime
from graphopt.errors import ModelError, PassError, UsageError
from graphopt.ir import Model, Node
from graphopt.pipeline import Plan
from graphopt.targets import Target

from ..items import BlockItem, DynamicItem, Item, nodes_by_id, to_plan
from ..placement.placement import Refusal
from .dynamic import OPSET, DynamicSurgery, place_dynamic
from .insertion import drop_constant
from .weight_only import opset_for, place_weights, store_weights

if TYPE_CHECKING:
    from graphopt.pipeline import Context

KERNELS = ("ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits")


def check_mode(target: Target, mode: str) -> None:
    """Raise UsageError for a mode that the target does not have."""
    if mode not in target.allowed.modes:
        raise UsageError(
            f"quant: mode={mode} is not for the target {target.name}, which takes "
            f"{', '.join(target.allowed.modes)}",
            hint="choose another mode or another --target",
        )


def plan_lighter(model: Model, ctx: Context, refused: Refusal, **choice: Any) -> Plan:
    """The plan of ``mode`` dynamic (per_channel, limit) or weights (bits, block)."""
    model.graph.sort()
    if choice["mode"] == "dynamic":
        placed: Iterable[Any] = place_dynamic(
            model, refused, ctx.target, choice["per_channel"], choice["limit"]
        )
    else:
        placed = place_weights(model, refused, choice["bits"], choice["block"])
    items: list[Item] = []
    for one in placed:
        if isinstance(one, tuple):
            ctx.skipped(*one)
        else:
            items.append(one)
    if not items:
        ctx.skipped("model", "it has no layer with constant weights that could be stored")
        return Plan()
    before = model.snapshot()
    try:
        ir.convert_opset(model, opset_of_lighter(items))
    except ModelError as error:
        ctx.skipped("model", str(error))
        return Plan()
    finally:
        model.restore(before)
    return to_plan(items)


def opset_of_lighter(items: Iterable[Item]) -> int:
    """The opset that dynamic and weight items need."""
    blocks = [item for item in items if isinstance(item, BlockItem)]
    return max(OPSET, *(opset_for(item.bits, [item]) for item in blocks)) if blocks else OPSET


def apply_lighter(model: Model, items: list[Item], ctx: Context) -> None:
    """Carry out the dynamic and weight items of a plan."""
    nodes, surgery = nodes_by_id(model.graph), DynamicSurgery(model.graph)
    for item in items:
        if not isinstance(item, (BlockItem, DynamicItem)):
            continue
        node = nodes.get(item.node)
        if node is None or node.inputs[1].constant is None:
            raise PassError(
                f"the plan speaks of a layer that makes {item.node}, and the model has none",
                hint="make a new plan for this model",
                pass_name="quant",
            )
        _apply_one(model, node, item, surgery, ctx)
    model.graph.remove_unused_initializers()
    model.graph.sort()
    _tell(model, ctx)


def _apply_one(
    model: Model, node: Node, item: BlockItem | DynamicItem, surgery: DynamicSurgery, ctx: Context
) -> None:
    weight, bias = node.inputs[1], node.input(2)
    if isinstance(item, BlockItem):
        ctx.changed(node, f"weights in {item.bits} bits")
        store_weights(model.graph, node, item)
    else:
        ctx.changed(node, "int8, activations while it runs")
        surgery.insert(node, item)
    for tensor in (weight, bias):
        if tensor is not None:
            drop_constant(model.graph, tensor)


def _tell(model: Model, ctx: Context) -> None:
    """Say what onnxruntime has a kernel of its own for."""
    if ctx.target.runtime != "onnxruntime":
        return
    kernels = runtime.kernels(model, custom_ops=ctx.settings.session.custom_ops)
    counts = {op: sum(made == op for made in kernels.values()) for op in KERNELS}
    listed = ", ".join(f"{count} {op}" for op, count in counts.items() if count)
    read = sum(made == "DequantizeLinear" for made in kernels.values())
    parts = [f"runs as {listed}"] if listed else []
    if read:
        parts.append(f"{read} weights are read to float before each run: a smaller file, not a faster one")
    ctx.reported("; ".join(parts) or "no kernel of its own", kernels=counts)
