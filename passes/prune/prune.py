"""Remove whole channels from a model."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from graphopt import ir, runtime
from graphopt.errors import UsageError
from graphopt.pipeline import Contract, Plan, PlannedPass, option
from graphopt.pipeline.harm import Harm, last_harmless, trial_samples

from .cells import find_cells
from .choice import Choice
from .constant import absorb_constants, without_constants
from .coupling import Coupling, couple
from .curves import obs_rankings
from .facts import Facts, gather_facts
from .importance import dead_classes, l2_importance
from .plan import read_items, write_items
from .predict import Keep, Predictor
from .ranking import l2_rankings
from .repair import Repaired, kept_outputs, repair
from .report import report
from .surgery import remove_channels
from .walk import label

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

GOALS = ("ratio", "macs", "params", "bytes")
IMPORTANCE = ("auto", "obs", "l2")


@dataclass(frozen=True)
class Prune(PlannedPass):
    """Remove whole channels, the least important first, with everything coupled to them.

    Channels of Conv, ConvTranspose, Gemm and MatMul are followed through the graph; those tied by residual
    additions, concatenations, depthwise convolutions and their like go together or not at all.  Whatever
    prune cannot follow stays whole, and the report says why.

    What goes is what its readers can best do without on the calibration samples, and afterwards the weights
    that stay are fitted to what the original computed: unlabelled samples suffice, and even synthetic ones
    are much better than none.

    Batch normalisations are folded first: there are fewer cases, and the norm of a folded filter contains the
    scale that follows it.
    """

    name: ClassVar[str] = "prune"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn")

    ratio: float | None = option(
        None, "fraction of the channels to remove from each group", minimum=0, maximum=0.99
    )
    macs: float | None = option(
        None, "fraction of the multiply-accumulates to leave", minimum=0.01, maximum=1
    )
    params: float | None = option(None, "fraction of the parameters to leave", minimum=0.01, maximum=1)
    bytes: float | None = option(None, "fraction of the weight bytes to leave", minimum=0.01, maximum=1)
    max_drop: float = option(
        1.0, "points that pruning may cost when no goal is given", minimum=0, maximum=100
    )
    round_to: int | None = option(
        None, "keep multiples of this many channels; none: what the target likes", minimum=1
    )
    min_channels: int = option(1, "keep at least this many channels of each group", minimum=1)
    importance: str = option(
        "auto",
        "what makes a channel important: l2, the norm of its filters; obs, what its readers lose without it; "
        "auto, obs where there are samples to go by",
        choices=IMPORTANCE,
    )
    repair: bool = option(True, "fit the remaining weights to the calibration samples, layer by layer")
    exclude: tuple[str, ...] = option((), "nodes to leave alone, as patterns of their names")
    include: tuple[str, ...] = option((), "the only nodes to prune, as patterns of their names")
    allow_inexact: bool = option(
        False, "also part channels that one normalisation spans, as LayerNormalization does: what stays changes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) > 1:
            raise UsageError(
                f"prune takes one goal, not {' and '.join(given)}", hint=f"give one of {', '.join(GOALS)}"
            )

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        """Choose the channels to remove; an item is one group of a layer's output channels."""
        facts = gather_facts(model, ctx, self.allow_inexact)
        model = without_constants(model, facts, ctx)
        choice = self._choice(model, facts, ctx)
        keep, rule = self._decide(model, facts, choice, ctx)
        if keep.all():
            ctx.warn(f"prune removed nothing ({rule})")
        return Plan(write_items(choice.coupling, choice.cells, keep, rule))

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        """Remove the channels that ``plan`` names with all that is coupled to them, and repair the rest."""
        facts = gather_facts(model, ctx, self.allow_inexact)
        if plan.items:
            absorb_constants(model, facts, ctx)
        coupling = couple(model, facts)
        keep = read_items(coupling, plan.items)
        report(self._with_options(coupling), keep, self._block(ctx), ctx)
        if not keep.all():
            samples = ctx.calibration if self.repair and self._may_fit(facts, ctx) else None
            if samples is not None and ctx.calibration_is_synthetic:
                ctx.warn("prune fitted weights to synthetic samples; real calibration data would do better")
            for done in _carry_out(model, coupling, keep, samples, ctx):
                ctx.changed(done.layer, done.what)

    def _block(self, ctx: Context) -> int:
        return ctx.target.block(runtime.machine()["isa"]) if self.round_to is None else self.round_to

    def _may_fit(self, facts: Facts, ctx: Context) -> bool:
        """Whether there are samples to fit to: real ones, or made-up ones where a goal must be met."""
        return facts.runs and (bool(self._goal) or not ctx.calibration_is_synthetic)

    def _by_obs(self, facts: Facts, ctx: Context) -> bool:
        return self.importance != "l2" and self._may_fit(facts, ctx)

    @property
    def _goal(self) -> str:
        return next((goal for goal in GOALS if getattr(self, goal) is not None), "")

    def _choice(self, model: ir.Model, facts: Facts, ctx: Context) -> Choice:
        coupling = self._with_options(couple(model, facts))
        cells, dead = find_cells(coupling, self._block(ctx)), dead_classes(coupling)
        if self._by_obs(facts, ctx):
            samples = ctx.calibration if self._goal else trial_samples(ctx.calibration)
            rankings = obs_rankings(model, coupling, cells, dead, samples, ctx)
            return Choice(coupling, rankings, dead, self.min_channels, True)
        scores = l2_importance(coupling)
        scores[dead] = -1.0
        return Choice(coupling, l2_rankings(cells, scores), dead, self.min_channels, False)

    def _with_options(self, coupling: Coupling) -> Coupling:
        """Put up walls around the channels that the user wants left alone."""
        walls = dict(coupling.walls)
        for layer in coupling.layers:
            if layer.ids is not None and layer.own and not self._may_prune(label(layer.node)):
                for one in coupling.on(layer.ids).tolist():
                    walls.setdefault(
                        one, f"the options exclude and include leave '{label(layer.node)}' alone"
                    )
        return replace(coupling, walls=walls)

    def _may_prune(self, name: str) -> bool:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.include)

    # -- the three rules ----------------------------------------------------------------------------------

    def _decide(self, model: ir.Model, facts: Facts, choice: Choice, ctx: Context) -> tuple[Keep, str]:
        """Return the channels to keep, and the rule that chose them in words."""
        first = "what its readers lose least by first" if choice.adds_up else "least L2 norm first"
        if self.ratio is not None:
            return choice.by_ratio(self.ratio), f"ratio={self.ratio:g} of each group, {first}"
        if self._goal:
            return self._reach(self._goal, model, choice, ctx), self._rule(choice, first)
        if ctx.calibration_is_synthetic:
            return choice.dead_only(), "no goal and no data: only channels that are always zero or never read"
        return self._careful(model, facts, choice, ctx)

    def _rule(self, choice: Choice, first: str) -> str:
        sharing = "the same price for every group" if choice.adds_up else "equal harm to every group"
        return f"{self._goal}={getattr(self, self._goal):g} left, {sharing}, {first}"

    def _reach(self, goal: str, model: ir.Model, choice: Choice, ctx: Context) -> Keep:
        """Leave as much of what the goal counts as it allows."""
        fraction = float(getattr(self, goal))
        predictor = Predictor(model, choice.coupling)
        keep, reached = choice.by_goal(goal, fraction, predictor)
        total = getattr(predictor.size(choice.coupling.keep_all()), goal)
        if not reached or not total:
            least = getattr(predictor.size(keep), goal) / total if total else 1.0
            ctx.goal_missed(f"prune can leave {least:.3g} of the {goal} at best, {fraction:g} was asked for")
        return keep

    def _careful(self, model: ir.Model, facts: Facts, choice: Choice, ctx: Context) -> tuple[Keep, str]:
        """Prune as much as costs no more than ``max_drop`` points on held-out samples."""
        harm, predictor = Harm(model, ctx), Predictor(model, choice.coupling)
        steps = [choice.dead_only(), *(keep for keep in choice.steps(predictor))]
        samples = trial_samples(ctx.calibration) if self.repair and self._may_fit(facts, ctx) else None

        def prune(step: int) -> None:
            _carry_out(model, couple(model, facts), steps[step], samples, ctx)

        step = last_harmless(model, prune, harm, self.max_drop, len(steps))
        return steps[step], f"no goal: the most that costs at most {self.max_drop:g} points ({harm.measure})"


def _carry_out(
    model: ir.Model, coupling: Coupling, keep: Keep, samples: Samples | None, ctx: Context
) -> list[Repaired]:
    """Remove channels; with samples, fit the layers that are left to what they were."""
    if samples is None:
        remove_channels(model, coupling, keep)
        return []
    original, kept = model.copy(), kept_outputs(coupling, keep)
    remove_channels(model, coupling, keep)
    return repair(original, model, kept, samples, ctx)
