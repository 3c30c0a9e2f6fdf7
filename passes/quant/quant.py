"""The pass: decide what to store in 8 bits, measure ranges, put the pairs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from graphopt import ir, runtime
from graphopt.errors import ModelError
from graphopt.ir import Model
from graphopt.pipeline import Context, Contract, Plan, PlannedPass, Trial, option

from .absorption import absorb
from .alone import trials
from .chains import known_shapes
from .choice import choose
from .draft import Drafter
from .equalisation import MODES, equalise
from .figures import show_rounding, show_storing
from .insertion import insert
from .items import (
    AbsorbItem,
    BlockItem,
    DynamicItem,
    EqualiseItem,
    Item,
    TensorItem,
    TuneItem,
    WeightItem,
    from_plan,
    node_id,
    to_plan,
)
from .kept_ranges import Kept, read, write, write_tensorrt
from .ladder import climb
from .lighter import apply_lighter, check_mode, opset_of_lighter, plan_lighter
from .ranges import CALIBRATORS, Calibrator
from .refining import refine
from .rewrites import carry_out
from .rules import LAYERS
from .scheme import Scheme, opset_of, raise_opset, resolve
from .searching import Budget, choose_absorption, choose_equalisation
from .selection import Selection, refusal_of
from .sparing import spare
from .telling import RUN_HERE, tell_fusion, tell_limits
from .validation import refuse_violations

if TYPE_CHECKING:
    from graphopt.data import Samples

REFIT_BELOW = 6  # bits of a weight; with more, fitting anew does more harm than good
FULL, REDUCED = 127, 63  # largest stored weight in 8 and in 7 bits
# Without these dot products, pairs of u8 * s8 are summed in 16 bits, which saturates on 8-bit weights.
SATURATING = frozenset({"avx512", "avx2", "avx", "sse4_1"})


@dataclass(frozen=True)
class Quant(PlannedPass):
    """Store activations and weights in 8 bits, and compute on integers where the runtime can.

    Activations become uint8 with one scale and zero point for each tensor, weights int8 with one scale for
    each output channel, biases int32.  What the runtime cannot compute on integers stays float, and so do
    the model's inputs and outputs.
    """

    name: ClassVar[str] = "quant"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn")

    calibrator: str = option(
        "minmax", "how the range of an activation follows from its values", choices=CALIBRATORS
    )
    percentile: float = option(
        99.999, "calibrator=percentile: how many percent of the values a range holds", minimum=50, maximum=100
    )
    mode: str = option(
        "static",
        "static: integers end to end; dynamic: ranges while the model runs; weights: only these are stored",
        choices=("static", "dynamic", "weights"),
    )
    bits: int = option(8, "of weights, with mode=weights", choices=(4, 8))
    block: int = option(
        32, "inputs that share a scale in matrices, with mode=weights", choices=(16, 32, 64, 128, 256)
    )
    activations: str | None = option(
        None,
        "integers that activations become; none: what the target likes best",
        choices=("uint8", "int8", "uint16", "int16"),
    )
    symmetric: bool | None = option(
        None, "activations with their zero point in the middle; none: as the target likes it"
    )
    per_channel: bool = option(True, "one weight scale for each output channel instead of one for all")
    include: tuple[str, ...] = option((), "only these layers: names, * and ? stand for any characters")
    exclude: tuple[str, ...] = option((), "nodes that stay float: names, * and ? stand for any characters")
    reduce_range: str = option(
        "auto",
        "smaller integers for weights whose sums saturate on CPUs without VNNI: none, the output channels "
        "where that can happen, or all in 7 bits; auto: channels where the CPU of this machine needs it",
        choices=("auto", "none", "channels", "all"),
    )

    weight_bits: int = option(8, "bits of a weight; fewer than 8 are stored in int8", minimum=2, maximum=8)
    rounding: str = option(
        "second-order",
        "nearest, or second-order: so that the outputs of a layer move least",
        choices=("nearest", "second-order"),
    )
    bias_correction: bool = option(True, "let biases take up the mean errors, one layer after the other")
    refit: bool | None = option(
        None, "fit weights anew before they are rounded; none: with fewer than 6 bits"
    )
    equalise: str = option(
        "auto",
        "give channels similar sizes by weights or activations; auto: what brings the outputs closer, if any",
        choices=("auto", "none", "activations", "weights"),
    )
    absorb: bool = option(
        True, "move what channels always hold into the biases behind them, if that brings the outputs closer"
    )
    spare: bool = option(
        True, "with weights of 8 bits: leave float what alone makes nearly a third of the outputs' noise"
    )
    ranges: str | None = option(None, "file of ranges: read when it is there, else written")
    tensorrt_cache: str | None = option(None, "file for the ranges as TensorRT's calibration cache")
    max_drop: float | None = option(
        None,
        "points of accuracy (without labels: changed answers) that may be lost on held-out calibration "
        "samples; layers stay float as far as that needs",
        minimum=0,
    )
    measure: bool = option(
        True, "time both here, and leave float what 8 bits would slow down (onnxruntime targets)"
    )

    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide which tensors and weights to store, and measure the ranges of the tensors."""
        if reason := refusal_of(model):
            ctx.skipped("model", reason)
            return Plan()
        self._selection.refuse_unmatched(model)
        check_mode(ctx.target, self.mode)
        if self.mode != "static":
            choice = {name: getattr(self, name) for name in ("mode", "bits", "block", "per_channel")}
            return plan_lighter(model, ctx, self._selection.refusal, limit=self._weight_limit(), **choice)
        scheme = resolve(ctx.target, self.activations, self.symmetric, self.per_channel)
        before = model.snapshot()
        try:
            scheme = raise_opset(model, scheme, ctx.warn)
            return self._plan(model, scheme, ctx)
        except ModelError as error:
            ctx.skipped("model", str(error))
            return Plan()
        finally:
            model.restore(before)

    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Put the pairs of a plan into the model, at the opset that they need."""
        if not plan.items:
            return
        items = from_plan(plan)
        if any(isinstance(item, (BlockItem, DynamicItem)) for item in items):
            ir.convert_opset(model, opset_of_lighter(items))
            apply_lighter(model, items, ctx)
            return
        ir.convert_opset(model, opset_of(items))
        prepare(model, items, ctx)
        carry_out(model, items, ctx.target)
        original = model.copy()
        labels = {node_id(node): node for node in model.graph.nodes if node.op in LAYERS}
        for item in items:
            if isinstance(item, WeightItem) and item.node in labels:
                ctx.changed(labels[item.node], "int8")
        others = (EqualiseItem, AbsorbItem, TuneItem)
        insert(model.graph, [item for item in items if not isinstance(item, others)])
        refined = refine(original, model, items, ctx)
        refuse_violations(model, ctx.target)
        tell_fusion(model, ctx)
        show_rounding(refined.layers, labels, ctx)
        if refined.said:
            ctx.reported("; ".join(text for text in (ctx.summary, refined.said) if text))

    def trials(self, model: Model, ctx: Context) -> Iterator[Trial]:
        """Yield each layer alone, with weights of 8 bits and of 4."""
        if reason := refusal_of(model):
            ctx.skipped("model", reason)
            return
        scheme = resolve(ctx.target, self.activations, self.symmetric, self.per_channel)
        made, calibrator = model.copy(), self._calibrator(scheme)
        scheme = raise_opset(made, scheme, ctx.warn)

        def drafter(bits: int) -> Drafter:
            limit, refused = self._weight_limit(bits), self._selection.refusal
            return Drafter(made, scheme, refused, limit, ctx, calibrator, sums=self._sums)

        yield from trials(made, drafter)

    def _plan(self, model: Model, scheme: Scheme, ctx: Context) -> Plan:
        def drafter_of(calibrator: Calibrator, samples: Samples | None = None) -> Drafter:
            return self._drafter(model, scheme, ctx, calibrator, known, samples)

        calibrator = self._calibrator(scheme)
        known, made_for = Kept({}), runtime.fingerprint(model) if self.ranges else ""
        found = read(Path(self.ranges), model, self.calibrator) if self.ranges else None
        if found is not None:
            known = found
            prepare(model, found.items, ctx)
        else:
            known = self._changed_channels(model, partial(drafter_of, calibrator), ctx)
        drafter = drafter_of(calibrator)
        if self.max_drop is not None:
            return self._within_budget(model, scheme, known, ctx)
        floats = spare(drafter, ctx) if self.spare and self.weight_bits == 8 else {}
        draft = drafter.draft(floats)
        if draft.placement.layers and self.measure and scheme.target.runtime == RUN_HERE:
            choice = choose(drafter, floats, ctx)
            if choice.draft is None:
                ctx.skipped("model", f"{choice.reason}; measure=false stores 8 bits all the same")
                return Plan()
            draft = choice.draft
        for node, reason in draft.placement.skips:
            ctx.skipped(node, reason)
        if not draft.placement.layers:
            ctx.skipped("model", "it has no layer that can run on integers")
            return Plan()
        tell_limits(draft.placement, ctx)
        if self.ranges and found is None:
            write(Path(self.ranges), made_for, self.calibrator, replace(known, ranges=drafter.ranges))
        if self.tensorrt_cache:
            tensors = [item for item in draft.items if isinstance(item, TensorItem)]
            write_tensorrt(Path(self.tensorrt_cache), tensors)
        show_storing(drafter.model, draft.items, ctx)
        return to_plan([*known.items, *draft.items, *self._tuning()])

    def _changed_channels(self, model: Model, drafter: Callable[..., Drafter], ctx: Context) -> Kept:
        """What is done to channels before anything is measured; ``model`` gets it."""
        modes = MODES if self.equalise == "auto" else [mode for mode in MODES if mode == self.equalise]
        equal = choose_equalisation(model, modes, drafter, ctx)
        absorbed = choose_absorption(model, drafter, ctx) if self.absorb else []
        return Kept({}, tuple(equal), tuple(absorbed))

    def _within_budget(self, model: Model, scheme: Scheme, known: Kept, ctx: Context) -> Plan:
        """The plan that loses no more than ``max_drop``; the channels of ``model`` are changed already."""
        start = model.snapshot()

        def make(calibrator: Calibrator, wanted: Scheme) -> Drafter:
            model.restore(start)
            reached = wanted if wanted is scheme else raise_opset(model, wanted, ctx.warn)
            is_asked = calibrator == self._calibrator(scheme)
            return self._drafter(model, reached, ctx, calibrator, known if is_asked else Kept({}))

        rungs = climb(make, self._calibrator(scheme), scheme, self._tuning(), self._refits)
        found = Budget(model.copy(), rungs, self.max_drop or 0.0, ctx).search()
        for node, reason in found.draft.placement.skips:
            ctx.skipped(node, reason)
        ctx.details["budget"] = list(found.steps)
        if self.max_drop is not None and found.harm > self.max_drop:
            ctx.goal_missed(f"quant: {found.harm:.2f} points are lost, more than max_drop={self.max_drop:g}")
        if not found.draft.placement.layers:
            ctx.skipped("model", f"nothing can be stored within max_drop={self.max_drop:g}")
            return Plan()
        tell_limits(found.draft.placement, ctx)
        show_storing(model, found.draft.items, ctx)
        return to_plan([*known.items, *found.draft.items, *found.tuning])

    def _drafter(
        self,
        model: Model,
        scheme: Scheme,
        ctx: Context,
        calibrator: Calibrator,
        known: Kept,
        samples: Samples | None = None,
    ) -> Drafter:
        """Drafts of static quantization; ``known`` ranges are not measured again."""
        limit = self._weight_limit(self.weight_bits)
        refused, ranges = self._selection.refusal, dict(known.ranges)
        return Drafter(model, scheme, refused, limit, ctx, calibrator, ranges, self._sums, samples)

    def _calibrator(self, scheme: Scheme) -> Calibrator:
        levels = 2 ** np.iinfo(scheme.activation.dtype).bits - 1
        return Calibrator(self.calibrator, self.percentile, levels, scheme.activation.symmetric)

    def _tuning(self) -> list[TuneItem]:
        """What is done to integers once they are stored."""
        rounding = self.rounding == "second-order"
        tune = TuneItem(rounding, self.bias_correction, self._refits)
        return [tune] if rounding or self.bias_correction else []

    @property
    def _refits(self) -> bool:
        return self.weight_bits < REFIT_BELOW if self.refit is None else self.refit

    def _weight_limit(self, bits: int = 8) -> int:
        is_reduced = self.reduce_range == "all" or (self.mode == "dynamic" and self._sums == "int16")
        return min(REDUCED if is_reduced else FULL, 2 ** (bits - 1) - 1)

    @property
    def _sums(self) -> str:
        """The integers in which the processor adds pairs of products, so far as weights heed it."""
        is_narrow = self.reduce_range == "auto" and runtime.machine()["isa"] in SATURATING
        return "int16" if is_narrow or self.reduce_range == "channels" else "int32"

    @property
    def _selection(self) -> Selection:
        return Selection(self.include, self.exclude)


def prepare(model: Model, items: Iterable[Item], ctx: Context) -> None:
    """Carry out what is done to channels before anything is stored; the report gets the tensors concerned."""
    given, shapes = list(items), known_shapes(model, ctx)
    changed = equalise(model.graph, [item for item in given if isinstance(item, EqualiseItem)], shapes)
    changed += absorb(model.graph, [item for item in given if isinstance(item, AbsorbItem)], shapes)
    if changed:
        ctx.details["rescaled"] = list(dict.fromkeys(changed))
