"""The pass: decide what to store in 8 bits, measure ranges, put the pairs in."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphopt import ir
from graphopt.errors import ModelError, UsageError
from graphopt.ir import Model
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline import Context, Plan, Trial
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.contract.selection import matches

from .channels.prepare import prepare
from .insertion.absorbed_nodes import drop_absorbed
from .insertion.dynamic_and_weight_only import apply_lighter, check_mode, opset_of_lighter, plan_lighter
from .insertion.insertion import insert
from .insertion.sizes import file_bytes, warn_of_growth
from .items import (
    AbsorbItem,
    BlockItem,
    DynamicItem,
    EqualiseItem,
    NormItem,
    TuneItem,
    WeightItem,
    node_id,
)
from .options import Options
from .plan_builder import PlanBuilder
from .plan_reading import from_plan
from .plots import show_rounding
from .report import tell_fusion
from .rewrites import carry_out
from .rounding.refining import refine
from .scheme import convert, opset_of, raise_opset
from .search.offers import floats, moves, parts
from .selection import form_refusal, refusal_of
from .sensitivity import trials
from .static import StaticPlanner
from .sums import keep_sums_apart
from .verify.sessions import assumptions, in_words
from .verify.validation import refuse_violations


@dataclass(frozen=True)
class Quant(Options):
    """Store activations and weights in 8 bits, and compute on integers where the runtime can.

    Activations become uint8 with one scale and zero point for each tensor, weights int8 with one scale for
    each output channel, biases int32.  What the runtime cannot compute on integers stays float, and so do
    the model's inputs and outputs.
    """

    @property
    def is_for_speed(self) -> bool:
        """Unless it stores integers for another reason: measure=false."""
        return self.mode == "static" and self.measure

    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide which tensors and weights to store, and measure the ranges of the tensors."""
        if reason := refusal_of(model) or form_refusal(ctx.target):
            ctx.skipped("model", reason)
            return Plan()
        self.selection.check("quant", model.graph.nodes)
        check_mode(ctx.target, self.mode)
        if self.mode != "static":
            choice = {name: getattr(self, name) for name in ("mode", "bits", "block", "per_channel")}
            return plan_lighter(model, ctx, self.refusal, limit=self.weight_limit(8, ctx), **choice)
        scheme = self.scheme_of(ctx)
        changed = model.copy()
        try:
            scheme = raise_opset(changed, scheme, ctx.warn)
            return StaticPlanner(self, changed, scheme, ctx).plan()
        except ModelError as error:
            ctx.skipped("model", str(error))
            return Plan()

    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Put the pairs of a plan into the model, at the opset that they need."""
        if not plan.items:
            return
        items, before = from_plan(plan), file_bytes(model)
        if any(isinstance(item, (BlockItem, DynamicItem)) for item in items):
            ir.convert_opset(model, opset_of_lighter(items))
            apply_lighter(model, items, ctx)
            warn_of_growth(before, model, ctx)
            return
        convert(model, opset_of(items), ctx)
        if rescaled := prepare(model, items, ctx):
            ctx.details["rescaled"] = rescaled
        carry_out(model, items, ctx.target)
        original = model.copy()
        labels = {node_id(node): node for node in model.graph.nodes if node.op in LAYERS}
        for item in items:
            if isinstance(item, WeightItem) and item.node in labels:
                ctx.changed(labels[item.node], "int8")
        others = (EqualiseItem, AbsorbItem, NormItem, TuneItem)
        insert(model.graph, [item for item in items if not isinstance(item, others)])
        refined = refine(original, model, items, ctx)
        keep_sums_apart(model, items)
        if ctx.target.absorbed_nodes == "drop":
            drop_absorbed(model.graph)
        refuse_violations(model, ctx.target)
        tell_fusion(model, ctx)
        warn_of_growth(before, model, ctx)
        if assumed := assumptions(self.reduce_range, ctx):
            ctx.details["assumed"] = assumed
        show_rounding(refined.layers, labels, ctx)
        said = (ctx.summary, refined.said, in_words(assumed))
        ctx.reported("; ".join(text for text in said if text))

    def offer(self, model: Model, ctx: Context, saves: str) -> Offer | None:
        """Each layer in 8 bits; None with a goal of its own, or where nothing can be stored."""
        if self.has_goal or refusal_of(model):
            return None
        self.selection.check("quant", model.graph.nodes)
        changed = model.copy()
        try:
            scheme = raise_opset(changed, self.scheme_of(ctx), lambda text: None)
            limit, calibrator = self.weight_limit(self.weight_bits, ctx), self.calibrator_of(scheme)
            placed = PlanBuilder(changed, scheme, self.refusal, limit, ctx, calibrator).draft({}).placement
        except ModelError:
            return None  # planning says why
        names = {node_id(node) for node in placed.layers}
        nodes = (node for node in changed.graph.nodes if node.outputs and node_id(node) in names)
        layers = {node: scheme.axis(node) for node in nodes}
        every = tuple(moves(changed, layers, calibrator.levels, limit, ctx))

        def plan(now: Model, taken: Sequence[Move], now_ctx: Context) -> Plan:
            stay = floats(every, taken)
            if len(stay) == len(every):
                now_ctx.skipped("model", "8 bits in no layer save enough for what they lose")
                return Plan()
            names = (glob.escape(name) for name in (*stay, *parts(now, every, stay)))
            excluded = (*self.exclude, *_present(tuple(names), now))
            # What stays float was chosen with its price; on other samples, noise alone would choose again.
            return replace(self, exclude=excluded, keep_noisy_float=False).plan(now, now_ctx)

        return Offer(every, plan) if every else None

    def trials(self, model: Model, ctx: Context) -> Iterator[Trial]:
        """Yield each layer alone, with weights of 8 bits and of 4."""
        if reason := refusal_of(model):
            ctx.skipped("model", reason)
            return
        if self.mode != "static":
            raise UsageError(f"quant: layers are tried alone with mode=static, not with mode={self.mode}")
        self.selection.check("quant", model.graph.nodes)
        scheme = self.scheme_of(ctx)
        made, calibrator = model.copy(), self.calibrator_of(scheme)
        scheme = raise_opset(made, scheme, ctx.warn)

        def builder_of(bits: int) -> PlanBuilder:
            limit, refused = self.weight_limit(bits, ctx), self.refusal
            return PlanBuilder(made, scheme, refused, limit, ctx, calibrator, sums=self.sums(ctx))

        yield from trials(builder_of)


def _present(patterns: Sequence[str], model: Model) -> list[str]:
    """The patterns that mean a node of a model: passes before may have replaced a layer."""
    return [pattern for pattern in patterns if any(matches(node, pattern) for node in model.graph.nodes)]
