"""The pass: find what cannot be in float16, convert the rest, and put casts at the borders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphopt import calibration
from graphopt.errors import PassError, UsageError
from graphopt.ir import Model, Node
from graphopt.pipeline import Context, Contract, Plan, PlannedPass, option
from graphopt.pipeline.contract.selection import first_match, refuse_unmatched

from .rules import KEPT, LARGEST, constant_refusal, model_refusal, node_key, target_refusal, type_refusal
from .surgery import convert
from .types import ElementTypes

HEADROOM = 4.0  # noise: two bits of the exponent, for samples that are larger than those at hand


@dataclass(frozen=True)
class Cast(PlannedPass):
    """Store weights and compute in float16, which GPUs and NPUs do twice as fast; CPUs mostly do not.

    Inputs and outputs keep their types unless ``io`` says otherwise.  What does not fit float16 stays
    float32 between two casts: operators that need its range or precision, weights beyond 65504, and nodes
    whose values come near that on the calibration samples.
    """

    name: ClassVar[str] = "cast"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn:lone=true")

    keep: tuple[str, ...] = option((), "nodes that stay float32: names with * and ?, or operator types")
    keep_ops: tuple[str, ...] = option(KEPT, "operators that stay float32")
    io: bool = option(False, "let inputs and outputs of the model become float16 too")
    ranges: bool = option(True, "keep float32 what comes near the largest float16 on the samples")
    headroom: float = option(HEADROOM, "how many times larger values may be than on the samples", minimum=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ranges and self.headroom != HEADROOM:
            raise UsageError(
                "cast: headroom is room above measured ranges, and ranges=false measures none",
                hint="leave one of them out",
            )

    @property
    def keeps_signature(self) -> bool:
        """Not when inputs and outputs are to become float16."""
        return not self.io

    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide which nodes stay float32, and why."""
        if reason := model_refusal(model) or target_refusal(ctx.target):
            ctx.skipped("model", reason)
            return Plan()
        refuse_unmatched("cast", {"keep": self.keep}, model.graph.nodes)
        model.graph.sort()
        types = ElementTypes(model, ctx)
        floats = [node for node in model.graph.nodes if node_key(node) and types.has_floats(node)]
        kept = dict(self._kept(floats, types, model.opset))
        if self.ranges:
            kept |= self._too_large(model, floats, kept, types, ctx)
        if all(node_key(node) in kept for node in floats):
            ctx.skipped("model", "it has nothing in float32 that could be float16")
            return Plan()
        items = [{"float32": name, "reason": reason} for name, reason in kept.items()]
        return Plan(({"float16": "model", "io": self.io}, *items))

    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Convert everything that the plan does not keep."""
        if not plan.items:
            return
        kept = {str(item["float32"]): str(item["reason"]) for item in plan.items if "float32" in item}
        nodes = {key: node for node in model.graph.nodes if (key := node_key(node))}
        if unknown := sorted(set(kept) - set(nodes)):
            raise PassError(
                f"the plan speaks of a node that makes {unknown[0]}, and the model has none",
                hint="make a new plan for this model",
                pass_name="cast",
            )
        for name, reason in kept.items():
            ctx.skipped(nodes[name], reason)
        is_whole = any(item.get("io") for item in plan.items)
        lost = convert(model, set(kept), ElementTypes(model, ctx), io=is_whole)
        ctx.changed("model", f"{len(nodes) - len(kept)} nodes in float16")
        if lost:
            ctx.warn(f"cast: {lost} weights are too small for float16 and became zero")

    def _kept(self, nodes: Sequence[Node], types: ElementTypes, opset: int) -> Iterator[tuple[str, str]]:
        for node in nodes:
            reason = self._reason(node) or type_refusal(node, types, opset) or constant_refusal(node)
            if reason is not None:
                yield node_key(node), reason

    def _reason(self, node: Node) -> str | None:
        if pattern := first_match(node, self.keep):
            return f"keep={pattern}"
        if node.op in self.keep_ops and node.is_standard:
            return f"{node.op} needs the range or precision of float32"
        return None

    def _too_large(
        self,
        model: Model,
        nodes: Sequence[Node],
        kept: Mapping[str, str],
        types: ElementTypes,
        ctx: Context,
    ) -> dict[str, str]:
        """Nodes whose values, times the headroom, leave float16 on the samples, or are no numbers there."""
        makers = {
            tensor.name: node_key(node)
            for node in nodes
            for tensor in node.outputs
            if types.is_float(tensor) and node_key(node) not in kept
        }
        requests = {name: [calibration.Range] for name in makers}
        ranges = ctx.collect(model, requests, allow_nonfinite=True) if requests else {}
        large: dict[str, str] = {}
        for name, (extremes,) in ranges.items():
            if extremes.nonfinite:
                large[makers[name]] = "its values are infinite or NaN on the samples"
            elif extremes.count and extremes.absmax * self.headroom > LARGEST:
                size = f"{extremes.absmax:.3g}"
                large[makers[name]] = f"its values reach {size}, too near the largest float16"
        return large
