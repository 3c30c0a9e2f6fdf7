"""The plan of static quantization: change channels, measure ranges, choose what stays float.

The steps stand in one order and each is taken whatever the others do: channels, ranges, the noisy layers
(``keep_noisy_float``), the budget (``max_drop``), the time (``measure``), and the files (``ranges``,
``tensorrt_cache``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt import runtime
from graphopt.pipeline import Plan
from graphopt.targets.host import runs_here

from .calibration.calibration_cache import Kept, read, write, write_tensorrt
from .calibration.ranges import Calibrator
from .channels.equalisation import MODES
from .channels.prepare import prepare
from .items import TensorItem, to_plan
from .plan_builder import PlanBuilder
from .plots import show_storing
from .report import tell_limits
from .scheme import Scheme, raise_opset
from .search.fallbacks import climb
from .search.model_choice import choose
from .search.noise_bisection import keep_noisy_float
from .search.search import Budget, Found, choose_absorption, choose_equalisation, choose_norms

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.pipeline import Context

    from .options import Options


@dataclass
class StaticPlanner:
    """Plans for one model, whose channels it changes on the way; ``scheme`` is what the opset allows."""

    options: Options
    model: Model
    scheme: Scheme
    ctx: Context
    known: Kept = field(default_factory=lambda: Kept({}))

    def plan(self) -> Plan:
        """Decide; an empty plan has its reasons among the skips."""
        ctx, ranges = self.ctx, self.options.ranges
        made_for = runtime.fingerprint(self.model) if ranges else ""
        was_read = self._change_channels()
        builder = self.builder(self.options.calibrator_of(self.scheme))
        floats = self._noisy(builder)
        best = self._within_budget(builder, floats) if self.options.max_drop is not None else None
        best = best or Found(builder, builder.draft(floats), tuple(self.options.tuning), floats)
        if ranges and not was_read:
            measured = replace(self.known, ranges=builder.ranges)
            write(Path(ranges), made_for, self.options.calibrator_of(self.scheme).label, measured)
        if best.draft.placement.layers and self.options.measure and runs_here(ctx.target):
            choice = choose(best, ctx)
            if choice.best is None:
                ctx.skipped("model", f"{choice.reason}; measure=false stores 8 bits anyway")
                return Plan()
            best = choice.best
        for node, reason in best.draft.placement.skips:
            ctx.skipped(node, reason)
        return self._finished(best)

    def _finished(self, best: Found) -> Plan:
        if not best.draft.placement.layers:
            limit = self.options.max_drop
            reason = "it has no layer that can run on integers"
            if best.excluded:
                reason = f"nothing can be stored within max_drop={limit:g}"
            self.ctx.skipped("model", reason)
            return Plan()
        tell_limits(best.draft.placement, self.ctx)
        if self.options.tensorrt_cache:
            tensors = [item for item in best.draft.items if isinstance(item, TensorItem)]
            write_tensorrt(Path(self.options.tensorrt_cache), tensors)
        show_storing(best.draft.model, best.draft.items, self.ctx)
        return to_plan([*self.known.items, *best.draft.items, *best.tuning])

    def _change_channels(self) -> bool:
        """Do to channels what the file of ranges says, else what brings the outputs closer."""
        options, ctx = self.options, self.ctx
        calibrator = options.calibrator_of(self.scheme)
        kept = read(Path(options.ranges), self.model, calibrator.label) if options.ranges else None
        if kept is not None:
            self.known = kept
            if options.equalise != "auto" or not options.absorb:
                ctx.warn(
                    f"quant: channels are as {options.ranges} says, whatever equalise and absorb ask for"
                )
            prepare(self.model, kept.items, ctx)
            return True
        make = partial(self.builder, calibrator)
        modes = MODES if options.equalise == "auto" else [m for m in MODES if m == options.equalise]
        equal = choose_equalisation(self.model, modes, make, ctx)
        prepare(self.model, equal, ctx)
        absorbed = choose_absorption(self.model, make, ctx) if options.absorb else []
        prepare(self.model, absorbed, ctx)
        normed = choose_norms(self.model, make, ctx) if options.equalise in ("auto", MODES[0]) else []
        if options.equalise not in ("auto", "none") and not equal and not normed:
            ctx.warn(
                f"quant: equalise={options.equalise} changes no channels: none can be scaled, or it brings "
                "the outputs no closer"
            )
        prepare(self.model, normed, ctx)
        self.known = Kept({}, tuple(equal), tuple(absorbed), tuple(normed))
        return False

    def _noisy(self, builder: PlanBuilder) -> dict[str, str]:
        """The layers to leave float for their noise, with the reasons."""
        wanted = self.options.keep_noisy_float and self.options.weight_bits == 8
        return keep_noisy_float(builder, self.ctx) if wanted else {}

    def _within_budget(self, first: PlanBuilder, floats: Mapping[str, str]) -> Found:
        """What loses no more than ``max_drop``; layers in ``floats`` stay float in any case."""
        options, ctx, scheme = self.options, self.ctx, self.scheme
        asked, limit = options.calibrator_of(scheme), options.max_drop or 0.0

        def make(calibrator: Calibrator, wanted: Scheme) -> PlanBuilder:
            if calibrator == asked and wanted is scheme:
                return first
            if wanted is scheme:
                return self.builder(calibrator, ranges={})
            model = self.model.copy()
            return self.builder(
                calibrator, model=model, scheme=raise_opset(model, wanted, ctx.warn), ranges={}
            )

        rungs = climb(make, asked, scheme, options.tuning, options.refits)
        outcome = Budget(self.model, rungs, limit, ctx, floats).search()
        ctx.details["budget"] = list(outcome.steps)
        if outcome.degradation > limit:
            ctx.goal_missed(f"quant: {outcome.degradation:.2f} points are lost, more than max_drop={limit:g}")
        return outcome

    def builder(
        self,
        calibrator: Calibrator,
        model: Model | None = None,
        samples: Samples | None = None,
        *,
        scheme: Scheme | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> PlanBuilder:
        """Drafts of a model, by default the planner's; ``ranges``, else the file's, are not measured."""
        measured = dict(self.known.ranges if ranges is None else ranges)
        options, ctx = self.options, self.ctx
        limit, sums = options.weight_limit(options.weight_bits, ctx), options.sums(ctx)
        refused = options.refusal
        return PlanBuilder(
            model or self.model,
            scheme or self.scheme,
            refused,
            limit,
            ctx,
            calibrator,
            measured,
            sums,
            samples,
        )
