"""Remove whole channels from a model."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from graphopt import ir, runtime
from graphopt.errors import UsageError
from graphopt.pipeline import Contract, Plan, PlannedPass, option

from .careful import Harm, last_harmless
from .cells import Cell, find_cells
from .coupling import Coupling, couple
from .facts import Facts, gather_facts
from .importance import Scores, dead_classes, l2_importance
from .ledger import Ids
from .plan import choose_dead, choose_harm, choose_ratio, read_items, smallest, write_items
from .predict import Keep, Predictor
from .report import report
from .surgery import remove_channels
from .walk import label

if TYPE_CHECKING:
    from graphopt.pipeline import Context

GOALS = ("ratio", "macs", "params", "bytes")
CAREFUL_STEPS = 64  # amounts of pruning that the careful default tells apart


@dataclass(frozen=True)
class Prune(PlannedPass):
    """Remove whole channels, the least important first, with everything coupled to them.

    Channels of Conv, ConvTranspose, Gemm and MatMul are followed through the graph; those tied by residual
    additions, concatenations, depthwise convolutions and their like go together or not at all.  Whatever
    prune cannot follow stays whole, and the report says why.

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
    importance: str = option("l2", "what makes a channel important", choices=("l2",))
    exclude: tuple[str, ...] = option((), "nodes to leave alone, as patterns of their names")
    include: tuple[str, ...] = option((), "the only nodes to prune, as patterns of their names")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) > 1:
            raise UsageError(
                f"prune takes one goal, not {' and '.join(given)}", hint=f"give one of {', '.join(GOALS)}"
            )

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        """Choose the channels to remove; an item is one group of a layer's output channels."""
        facts = gather_facts(model, ctx)
        choice = self._choice(model, facts, self._block(ctx))
        keep, rule = self._decide(model, facts, choice, ctx)
        if keep.all():
            ctx.warn(f"prune removed nothing ({rule})")
        return Plan(write_items(choice.coupling, choice.cells, keep, rule))

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        """Remove the channels that ``plan`` names, with all that is coupled to them."""
        coupling = couple(model, gather_facts(model, ctx))
        keep = read_items(coupling, plan.items)
        report(self._with_options(coupling), keep, self._block(ctx), ctx)
        if not keep.all():
            remove_channels(model, coupling, keep)

    def _block(self, ctx: Context) -> int:
        return ctx.target.block(runtime.machine()["isa"]) if self.round_to is None else self.round_to

    def _choice(self, model: ir.Model, facts: Facts, block: int) -> Choice:
        coupling = self._with_options(couple(model, facts))
        return Choice(
            coupling,
            find_cells(coupling, block),
            l2_importance(coupling),
            dead_classes(coupling),
            self.min_channels,
        )

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
        if self.ratio is not None:
            return choice.by_ratio(self.ratio), f"ratio={self.ratio:g} of each group, least L2 norm first"
        goal = next((name for name in GOALS if getattr(self, name) is not None), None)
        if goal is not None:
            return self._reach(goal, model, choice, ctx)
        if ctx.calibration_is_synthetic:
            return choice.dead_only(), "no goal and no data: only channels that are always zero or never read"
        return self._careful(model, facts, choice, ctx)

    def _reach(self, goal: str, model: ir.Model, choice: Choice, ctx: Context) -> tuple[Keep, str]:
        """Let all groups come to the same harm, the smallest that leaves no more than the goal."""
        fraction = float(getattr(self, goal))
        predictor = Predictor(model, choice.coupling)
        limit = fraction * getattr(predictor.size(choice.coupling.keep_all()), goal)
        most = float(max((len(cell.layers) for cell in choice.cells), default=0))
        keep, reached = smallest(
            choice.by_harm, most, lambda keep: getattr(predictor.size(keep), goal) <= limit
        )
        if not reached:
            least = getattr(predictor.size(keep), goal) * fraction / limit if limit else 1.0
            ctx.goal_missed(f"prune can leave {least:.3g} of the {goal} at best, {fraction:g} was asked for")
        return keep, f"{goal}={fraction:g} left, equal harm to every group, least L2 norm first"

    def _careful(self, model: ir.Model, facts: Facts, choice: Choice, ctx: Context) -> tuple[Keep, str]:
        """Prune as much as costs no more than ``max_drop`` points on held-out samples."""
        harm = Harm(model, ctx)

        def prune(step: int) -> None:
            remove_channels(model, couple(model, facts), choice.by_harm(_harm_at(step)))

        step = last_harmless(model, prune, harm, self.max_drop, CAREFUL_STEPS)
        rule = f"no goal: the most that costs at most {self.max_drop:g} points ({harm.measure})"
        return choice.by_harm(_harm_at(step)), rule


def _harm_at(step: int) -> float:
    """The harm that a step of the careful search does to each group; fine steps where harm is small."""
    return float((step / CAREFUL_STEPS) ** 2)


@dataclass(frozen=True)
class Choice:
    """What can be chosen from: the cells of a model and how much each channel matters."""

    coupling: Coupling
    cells: list[Cell]
    scores: Scores
    dead: Ids
    least: int

    def by_ratio(self, ratio: float) -> Keep:
        """Remove about ``ratio`` of each cell, and dead channels in any case."""
        pruned = choose_ratio(self.coupling, self.cells, self._dead_first(), ratio, self.least)
        return pruned & self.dead_only()

    def by_harm(self, harm: float) -> Keep:
        """Remove from each cell what harms it by at most ``harm``, and dead channels in any case."""
        pruned = choose_harm(self.coupling, self.cells, self._dead_first(), harm, self.least)
        return pruned & self.dead_only()

    def _dead_first(self) -> Scores:
        """Scores that put dead channels first, so that what one rule removes contains what another does."""
        scores = self.scores.copy()
        scores[self.dead] = -1.0
        return scores

    def dead_only(self) -> Keep:
        """Remove dead channels only."""
        return choose_dead(self.coupling, self.cells, self.dead)
