"""The pass: find what cannot be in float16, convert the rest, and put casts at the borders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt import stats
from graphopt.errors import PassError
from graphopt.ir import Model, Node
from graphopt.ir.facts import gather_facts
from graphopt.pipeline import Context, Contract, Plan, PlannedPass, option
from graphopt.pipeline.patterns import matches_name, refuse_unmatched

from .rules import KEPT, LARGEST, constant_refusal, floats_of, model_refusal
from .surgery import convert


@dataclass(frozen=True)
class Cast(PlannedPass):
    """Store weights and compute in float16, which GPUs and NPUs do twice as fast; CPUs mostly do not.

    Inputs and outputs keep their types unless ``io`` says otherwise.  What does not fit float16 stays
    float32 between two casts: operators that need its range or precision, weights beyond 65504, and nodes
    whose values come near that on the calibration samples.
    """

    name: ClassVar[str] = "cast"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn")

    keep: tuple[str, ...] = option((), "nodes that stay float32: names, * and ? stand for any characters")
    keep_ops: tuple[str, ...] = option(KEPT, "operators that stay float32")
    io: bool = option(False, "let inputs and outputs of the model become float16 too")
    ranges: bool = option(True, "keep float32 what comes near the largest float16 on the samples")
    headroom: float = option(4.0, "how many times larger values may be than on the samples", minimum=1.0)

    @property
    def keeps_signature(self) -> bool:
        """Not when inputs and outputs are to become float16."""
        return not self.io

    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide which nodes stay float32, and why."""
        if reason := model_refusal(model):
            ctx.skipped("model", reason)
            return Plan()
        refuse_unmatched(model, "cast", {"keep": self.keep})
        model.graph.sort()
        kept = dict(self._kept(model))
        if self.ranges:
            kept |= self._too_large(model, kept, ctx)
        floats = [node for node in model.graph.nodes if node.outputs and floats_of(node, gather_facts(model))]
        if all(node.output.name in kept for node in floats):
            ctx.skipped("model", "it has nothing in float32 that could be float16")
            return Plan()
        items = [{"float32": name, "reason": reason} for name, reason in kept.items()]
        return Plan(({"float16": "model", "io": self.io}, *items))

    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Convert everything that the plan does not keep."""
        if not plan.items:
            return
        kept = {str(item["float32"]): str(item["reason"]) for item in plan.items if "float32" in item}
        nodes = {node.output.name: node for node in model.graph.nodes if node.outputs}
        if unknown := sorted(set(kept) - set(nodes)):
            raise PassError(
                f"the plan speaks of a node that makes {unknown[0]}, and the model has none",
                hint="make the plan anew for this model",
                pass_name="cast",
            )
        for name, reason in kept.items():
            ctx.skipped(nodes[name], reason)
        is_whole = any(item.get("io") for item in plan.items)
        lost = convert(model, set(kept), io=is_whole)
        ctx.changed("model", f"{len(nodes) - len(kept)} nodes in float16")
        if lost:
            ctx.warn(f"cast: {lost} weights are too small for float16 and became zero")

    def _kept(self, model: Model) -> Iterator[tuple[str, str]]:
        facts = gather_facts(model)
        for node in model.graph.nodes:
            if not node.outputs or not floats_of(node, facts):
                continue
            reason = self._reason(node) or constant_refusal(node)
            if reason is not None:
                yield node.output.name, reason

    def _reason(self, node: Node) -> str | None:
        for pattern in self.keep:
            if matches_name(node, pattern):
                return f"keep={pattern}"
        if node.op in self.keep_ops:
            return f"{node.op} needs the range or precision of float32"
        if not node.is_standard:
            return "nobody says whether its operator takes float16"
        return None

    def _too_large(self, model: Model, kept: dict[str, str], ctx: Context) -> dict[str, str]:
        """Nodes whose values, times the headroom, leave float16 on the samples."""
        facts = gather_facts(model)
        names = [
            t.name
            for node in model.graph.nodes
            for t in node.outputs
            if t.name and facts.dtype(t) == np.float32 and node.outputs[0].name not in kept
        ]
        found = ctx.collect(model, {name: [stats.Range] for name in names}) if names else {}
        large: dict[str, str] = {}
        for node in model.graph.nodes:
            for tensor in node.outputs:
                if tensor.name in found:
                    (extremes,) = found[tensor.name]
                    size = max(abs(extremes.minimum), abs(extremes.maximum)) if extremes.count else 0.0
                    if size * self.headroom > LARGEST:
                        large[node.output.name] = f"its values reach {size:.3g}, too near the largest float16"
        return large
