"""Choices that are made by trying: whether to equalise channels, and what stays float under a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.pipeline.harm import Harm

from .deviation import Deviation
from .draft import Draft, Drafter
from .equalisation import MODES, by_activations, by_weights, equalise, known_shapes
from .insertion import insert
from .items import EqualiseItem, TuneItem, node_id
from .ranges import Calibrator
from .refining import refine

if TYPE_CHECKING:
    from graphopt.pipeline import Context

UNCHANGED = -70.0  # dB of noise up to which a rescaled float network counts as the same
GAIN = 1.0  # dB; less is gone once the weights are rounded with care
JUDGES = 32  # samples that tell whether equalising helps
PROXY_SAMPLES = 16  # that tell which layer costs most
READMITTED = 8  # excluded layers at most that are tried in 8 bits again

MakeDrafter = Callable[[Calibrator], Drafter]


def choose_equalisation(
    model: ir.Model, modes: Sequence[str], drafter: Callable[[], Drafter], ctx: Context
) -> list[EqualiseItem]:
    """The factors that bring the quantized outputs closest, none when that is best; ``model`` gets them.

    ``drafter`` makes one for the model as it stands.
    """
    shapes = known_shapes(model, ctx)
    start = model.snapshot()
    deviation = Deviation(model.copy(), ctx.calibration.take(JUDGES), ctx)  # nothing is fitted to them
    best: list[EqualiseItem] = []
    least: float | None = None
    for mode in modes:
        items = by_activations(model, shapes, ctx) if mode == MODES[0] else by_weights(model.copy(), shapes)
        if not items:
            continue
        if least is None:
            least = deviation.of(_stored(drafter())) - GAIN
            model.restore(start)
        equalise(model.graph, items, shapes)
        if deviation.of(model) < UNCHANGED and (reached := deviation.of(_stored(drafter()))) < least:
            least, best = reached, items
        model.restore(start)
    equalise(model.graph, best, shapes)
    return best


def _stored(drafter: Drafter) -> ir.Model:
    """The quantized model of a draft, nearest integers."""
    draft = drafter.draft({})
    made = drafter.model.copy()
    insert(made.graph, draft.items)
    return made


@dataclass(frozen=True)
class Found:
    """What a search ended with: the draft, the harm it does in points, and how it came to that, in words."""

    draft: Draft
    harm: float
    steps: tuple[str, ...]


class Budget:
    """Finds what has to stay float, or be stored otherwise, for the harm to stay within ``limit`` points.

    First the ranges are measured in other ways.  Then layers are ordered by how much closer the outputs come
    when one of them alone stays float; the shortest beginning of that list that is enough is found by
    bisection, and each of its members is tried in 8 bits once more.
    """

    def __init__(
        self,
        make: MakeDrafter,
        calibrator: Calibrator,
        tuning: Sequence[TuneItem],
        limit: float,
        ctx: Context,
    ):
        self._make = make
        self._calibrator = calibrator
        self._tuning = tuning
        self._limit = limit
        self._ctx = ctx
        self._drafter = make(calibrator)
        self._plain = self._drafter.plain()
        self._harm = Harm(self._plain, ctx)

    def search(self) -> Found:
        """Search; the draft found is the last one made, so the drafter's model stands as it needs."""
        harm = self._try({})
        steps = [f"all in 8 bits: {harm:.2f} points"]
        if harm <= self._limit:
            return Found(self._drafter.draft({}), harm, tuple(steps))
        for method in self._others():
            self._drafter = self._make(replace(self._calibrator, method=method))
            tried = self._try({})
            steps.append(f"calibrator={method}: {tried:.2f} points")
            if tried <= self._limit:
                return Found(self._drafter.draft({}), tried, tuple(steps))
        self._drafter = self._make(self._calibrator)
        floats = self._exclusion(steps)
        harm = self._try(floats)
        return Found(self._drafter.draft(floats), harm, tuple(steps))

    def _others(self) -> Iterator[str]:
        yield from (method for method in ("mean", "mse") if method != self._calibrator.method)

    def _exclusion(self, steps: list[str]) -> dict[str, str]:
        order = self._by_gain()
        good, bad = len(order), 0
        while good - bad > 1:
            middle = (good + bad) // 2
            harm = self._try(dict(order[:middle]))
            steps.append(f"{middle} layers float: {harm:.2f} points")
            good, bad = (middle, bad) if harm <= self._limit else (good, middle)
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
        base = deviation.of(self._store({}))
        layers = [node_id(node) for node in self._drafter.draft({}).placement.layers]
        gains = {
            name: base - deviation.of(self._store({name: "trial"}))
            for name in self._ctx.progress("quant: what each layer costs", layers, len(layers))
        }
        order = sorted(layers, key=lambda name: -gains[name])
        return [
            (name, f"max_drop: the outputs are {gains[name]:.1f} dB closer with it in float")
            for name in order
        ]

    def _try(self, floats: Mapping[str, str]) -> float:
        """The harm of a draft as it would be written."""
        draft = self._drafter.draft(floats)
        if not draft.placement.layers:
            return 0.0
        original = self._drafter.model.copy()
        made = self._drafter.model.copy()
        insert(made.graph, draft.items)
        refine(original, made, [*draft.items, *self._tuning], self._ctx)
        return self._harm.of(made)

    def _store(self, floats: Mapping[str, str]) -> ir.Model:
        draft = self._drafter.draft(floats)
        made = self._drafter.model.copy()
        insert(made.graph, draft.items)
        return made
