"""Choices that are made by trying: what to do to channels, and what stays float under a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.errors import ModelError
from graphopt.pipeline.search.degradation import Degradation

from ..channels.absorption import absorb, by_ranges
from ..channels.chains import known_shapes
from ..channels.equalisation import MODES, by_activations, by_weights, equalise
from ..channels.norms import ALPHAS, by_alpha, norms, shift_and_scale
from ..items import AbsorbItem, EqualiseItem, NormItem, TuneItem, node_id
from ..plan_builder import Draft, PlanBuilder
from ..plots import show_tries
from ..rounding.refining import refine
from ..verify.sessions import open_stored
from .fallbacks import Fallback
from .output_sqnr import Deviation

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

# noise: dB up to which a rescaled float network counts as the same; 8 bits make -50 at best
UNCHANGED = -70.0
GAIN = 1.0  # measured (constants): dB; less is gone once the weights are rounded with care
# measured (constants): dB that absorbing has to gain: rounding of activations, for which nothing else makes
# up
ABSORBED = 0.1
JUDGES = 32  # time: samples at most that say whether changing channels helps
PROXY_SAMPLES = 16  # time: samples that say which layer costs most
READMITTED = 8  # time: excluded layers at most that are tried in 8 bits again


BuilderOf = Callable[["ir.Model", "Samples"], PlanBuilder]  # for a model; ranges come from the samples


def choose_equalisation(
    model: ir.Model, modes: Sequence[str], builder_of: BuilderOf, ctx: Context
) -> list[EqualiseItem]:
    """The factors that bring the quantized outputs closest, none when that is best."""
    shapes = known_shapes(model, ctx)
    trial: _Trial | None = None
    best: list[EqualiseItem] = []
    least = 0.0
    for mode in modes:
        items = by_activations(model, shapes, ctx) if mode == MODES[0] else by_weights(model.copy(), shapes)
        if not items:
            continue
        if trial is None:
            trial = _Trial(model, builder_of, ctx)
            if not trial.can_judge:
                return []
            least = trial.noise(model) - GAIN
        changed = model.copy()
        equalise(changed.graph, items, shapes)
        if trial.is_unchanged(changed) and (reached := trial.noise(changed)) < least:
            least, best = reached, items
    return best


def choose_absorption(model: ir.Model, builder_of: BuilderOf, ctx: Context) -> list[AbsorbItem]:
    """What channels leave to biases, nothing when that brings the outputs no closer."""
    shapes = known_shapes(model, ctx)
    items = by_ranges(model, shapes, _parted(ctx.calibration)[0], ctx)
    if not items:
        return []
    trial = _Trial(model, builder_of, ctx)
    if not trial.can_judge:
        return []
    changed = model.copy()
    absorb(changed.graph, items, shapes)
    is_better = trial.is_unchanged(changed) and trial.noise(changed) < trial.noise(model) - ABSORBED
    return items if is_better else []


def choose_norms(model: ir.Model, builder_of: BuilderOf, ctx: Context) -> list[NormItem]:
    """What normalisations before matrices leave to them, with the alpha that brings the outputs closest.

    Nothing when none brings them closer on samples that neither ranges nor factors were taken from.
    """
    if next(norms(model.graph), None) is None:
        return []
    trial = _Trial(model, builder_of, ctx)
    if not trial.can_judge:
        return []
    best: list[NormItem] = []
    least = trial.noise(model) - ABSORBED
    for items in by_alpha(model, ALPHAS, _parted(ctx.calibration)[0], ctx):
        changed = model.copy()
        shift_and_scale(changed.graph, items)
        if items and trial.is_unchanged(changed) and (reached := trial.noise(changed)) < least:
            least, best = reached, items
    return best


class _Trial:
    """Judges models with changed channels against the ``original``."""

    def __init__(self, original: ir.Model, builder_of: BuilderOf, ctx: Context) -> None:
        self._known, judging = _parted(ctx.calibration)
        self._builder_of = builder_of
        self._deviation = Deviation(original, judging, ctx)

    @property
    def can_judge(self) -> bool:
        """Whether noise can be measured at all."""
        return self._deviation.can_judge

    def is_unchanged(self, changed: ir.Model) -> bool:
        """Whether the float function is the original's."""
        return self._deviation.of(changed) < UNCHANGED

    def noise(self, model: ir.Model) -> float:
        """The noise of the outputs in dB with everything stored."""
        return self._deviation.of(self._builder_of(model, self._known).draft({}).stored())


def _parted(samples: Samples) -> tuple[Samples, Samples]:
    """Samples to measure ranges on and others that judge, since a range suits what it was measured on.

    A single sample does both.
    """
    judging = min(JUDGES, len(samples) // 2)
    return (samples.skip(judging), samples.take(judging)) if judging else (samples, samples)


@dataclass(frozen=True)
class Found:
    """What will be stored: a draft that ``builder`` made, and what is done to its integers.

    ``floats`` are the layers that stay float, with the reasons; ``excluded`` those of them that a budget
    needed.  ``degradation`` in points is what ``degradation_of`` another set of float layers would measure.
    """

    builder: PlanBuilder
    draft: Draft
    tuning: tuple[TuneItem, ...]
    floats: Mapping[str, str]
    excluded: Mapping[str, str] = field(default_factory=dict)
    degradation: float = 0.0
    limit: float = math.inf
    steps: tuple[str, ...] = ()
    degradation_of: Callable[[Mapping[str, str]], float] = lambda floats: 0.0


class Budget:
    """Finds what has to stay float, or be stored otherwise, to lose at most ``limit`` points.

    First other ways to store everything are tried.  If none is enough, layers are left float in the one that
    degrades least: they are ordered by how much closer the outputs come when one of them alone stays float;
    the shortest beginning of that list that is enough is found by bisection, and each of its members is tried
    in integers once more.  The layers in ``floats`` stay float throughout.
    """

    def __init__(
        self,
        plain: ir.Model,
        rungs: Iterable[Fallback],
        limit: float,
        ctx: Context,
        floats: Mapping[str, str] | None = None,
    ) -> None:
        self._rungs = list(rungs)
        self._limit = limit
        self._floats = dict(floats or {})
        self._ctx = ctx
        self._plain = plain
        self._degradation = Degradation(plain, ctx, partial(open_stored, ctx=ctx))
        self._tried: list[tuple[str, float]] = []
        self._take(self._rungs[0])

    def search(self) -> Found:
        """Search; ways that the model does not allow are passed over, and the steps say so."""
        steps: list[str] = []
        best, least = self._rungs[0], math.inf
        for rung in self._rungs:
            try:
                self._take(rung)
            except ModelError as error:
                steps.append(f"{rung.name}: {error}")
                continue
            degradation = self._try({})
            steps.append(self._described(rung.name, degradation))
            if degradation <= self._limit:
                return self._found({}, degradation, steps)
            if degradation < least:
                best, least = rung, degradation
        self._take(best)
        floats = self._exclusion(steps)
        return self._found(floats, self._try(floats), steps)

    def _take(self, rung: Fallback) -> None:
        self._builder, self._tuning = rung.builder(), rung.tuning

    def _found(self, floats: Mapping[str, str], degradation: float, steps: Sequence[str]) -> Found:
        show_tries(self._tried, self._limit, self._degradation.kind, self._ctx)
        every = {**self._floats, **floats}
        draft = self._builder.draft(every)
        return Found(
            self._builder,
            draft,
            self._tuning,
            every,
            floats,
            degradation,
            self._limit,
            tuple(steps),
            self._try,
        )

    def _described(self, way: str, degradation: float) -> str:
        """A trial in words; the plot of what was tried shows it too."""
        self._tried.append((way, degradation))
        return f"{way}: {degradation:.2f} points"

    def _exclusion(self, steps: list[str]) -> dict[str, str]:
        order = self._by_gain()
        good, bad = len(order), 0
        while good - bad > 1:
            middle = (good + bad) // 2
            degradation = self._try(dict(order[:middle]))
            steps.append(self._described(f"{middle} layers float", degradation))
            good, bad = (middle, bad) if degradation <= self._limit else (good, middle)
        chosen = dict(order[:good])
        for name in list(chosen)[-2 : -2 - READMITTED : -1]:
            fewer = {key: why for key, why in chosen.items() if key != name}
            if fewer and self._try(fewer) <= self._limit:
                steps.append(f"{name} in 8 bits again")
                chosen = fewer
        return chosen

    def _by_gain(self) -> list[tuple[str, str]]:
        """Every layer with the reason to leave it float, those that cost most first."""
        samples = self._ctx.calibration.take(PROXY_SAMPLES)
        deviation = Deviation(self._plain, samples, self._ctx)
        draft = self._builder.draft(self._floats)
        base = deviation.of(draft.stored())
        layers = [node_id(node) for node in draft.placement.layers]
        gains = {
            name: _gain(base, deviation.of(self._builder.draft({**self._floats, name: "trial"}).stored()))
            for name in self._ctx.progress("quant: what each layer costs", layers, len(layers))
        }
        order = sorted(layers, key=lambda name: -gains[name])
        return [
            (name, f"max_drop: the outputs are {gains[name]:.1f} dB closer with it in float")
            for name in order
        ]

    def _try(self, floats: Mapping[str, str]) -> float:
        """The degradation of a draft as it would be written."""
        draft = self._builder.draft({**self._floats, **floats})
        if not draft.placement.layers:
            return 0.0
        made = draft.stored()
        refine(draft.model, made, [*draft.items, *self._tuning], self._ctx)
        return self._degradation.of(made)


def _gain(base: float, reached: float) -> float:
    """How much closer outputs come, in dB; what makes them finite gains most."""
    if math.isinf(base):
        return 0.0 if math.isinf(reached) else math.inf
    return base - reached
