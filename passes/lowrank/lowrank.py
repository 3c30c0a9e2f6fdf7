"""Replace layers by thinner ones behind each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline import Contract, Plan, PlannedPass, Trial, option
from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.contract.selection import Selection
from graphopt.pipeline.search.degradation import trial_samples
from graphopt.targets.host import block_assumption, block_in_words, channel_block

from .fit.apply import carry_out
from .layers.layer import Layer, narrow
from .layers.survey import Survey, survey
from .plan import read_items, write_item, write_items
from .ranks.moves import moves, translated
from .ranks.offers import make_offers
from .ranks.paying import Prices, tell_what_pays
from .ranks.rules import Request, decide
from .report import summary, tell_kept
from .trials import trials
from .ways import KINDS, USUAL

if TYPE_CHECKING:
    from graphopt.pipeline import Context

GOALS = ("energy", "rank", "macs", "params", "latency")
MAX_DROP = 1.0  # fixed: points that may be lost when nothing is said


@dataclass(frozen=True)
class LowRank(PlannedPass):
    """Replace convolutions and matrix products by two or three thinner ones behind each other.

    Each layer may be split along its channels, along its kernel or both, whichever loses least for what it
    saves; all layers pay the same price.  What is lost is measured where it matters: in the layer's output
    on the calibration samples, not in its weights.  Afterwards every layer is fitted to what the original
    computed.  Unlabelled samples suffice; without any, only the weights are looked at.

    Batch normalisations are folded first, so that their scales count.
    """

    name: ClassVar[str] = "lowrank"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn:lone=true")

    energy: float | None = option(
        None, "share of each layer's output variance to keep", minimum=0.01, maximum=1
    )
    rank: int | None = option(None, "channels to leave between the parts of every layer", minimum=1)
    macs: float | None = option(
        None, "fraction of the multiply-accumulates to leave", minimum=0.01, maximum=1
    )
    params: float | None = option(None, "fraction of the parameters to leave", minimum=0.01, maximum=1)
    latency: float | None = option(
        None, "fraction of the time to leave, as measured on this machine", minimum=0.01, maximum=1
    )
    shared: bool = option(
        False,
        "count macs and params from the model that the run began with, so that earlier passes share the goal",
    )
    max_drop: float | None = option(
        None,
        f"points that splitting may cost when no goal is given; none: {MAX_DROP:g}, or what the run's budget "
        "for all its passes leaves",
        minimum=0,
        maximum=100,
    )
    kinds: tuple[str, ...] = option(USUAL, "the ways to split that may be used", choices=tuple(KINDS))
    round_to: int | None = option(
        None, "ranks are multiples of this many channels; none: the block of the target", minimum=1
    )
    min_channels: int = option(16, "leave layers with fewer channels on either side alone", minimum=1)
    hint: str = option(
        "none",
        "what bounds ranks from below; vbmf: what variational Bayes takes for signal in the weights",
        choices=("none", "vbmf"),
    )
    refit: bool = option(True, "fit the layers that stay whole to the calibration samples too")
    exclude: tuple[str, ...] = option((), "layers to leave alone: names with * and ?, or operator types")
    include: tuple[str, ...] = option((), "the only layers to split: names with * and ?, or operator types")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) > 1:
            raise UsageError(
                f"lowrank takes one goal, not {' and '.join(given)}", hint=f"give one of {', '.join(GOALS)}"
            )
        self._refuse_unheard(given)
        if self.shared and self.macs is None and self.params is None:
            raise UsageError("lowrank: shared needs a goal to share", hint="give macs or params")

    def _refuse_unheard(self, goals: Sequence[str]) -> None:
        """Refuse options that others leave without effect."""
        if goals and self.max_drop is not None:
            raise UsageError(
                f"lowrank: max_drop decides how far to go, and so does {goals[0]}", hint="give one of the two"
            )
        if self.rank is not None and self.round_to is not None and self.rank % self.round_to:
            raise UsageError(
                f"lowrank: rank={self.rank} is not a multiple of round_to={self.round_to}",
                hint="leave round_to out, or give a rank that is",
            )

    @property
    def is_for_speed(self) -> bool:
        """Unless a goal is stated, which taking it back would miss."""
        return all(getattr(self, goal) is None for goal in GOALS)

    @property
    def has_goal(self) -> bool:
        """Whether it says itself how far to go, in a goal or in points."""
        return not self.is_for_speed or self.max_drop is not None

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        """Choose how to split which layers; an item is one layer."""
        layers = self._survey(model, ctx)
        if layers.samples is None:
            ctx.warn("lowrank has no samples to go by: layers are split by their weights alone (plain SVD)")
        request = self._request()
        samples = trial_samples(layers.samples) if layers.samples is not None and not request.goal else None
        offers = make_offers(
            layers, self.kinds, self._block(ctx), ctx, rank=self.rank, hint=self.hint, samples=samples
        )
        chosen, rule = decide(request, layers, offers, ctx)
        prices = Prices({price.layer: price for price in offers.prices})
        tell_what_pays(prices, ctx)
        if self.round_to is None and (assumed := block_assumption(ctx.target)):
            ctx.reported(block_in_words(ctx.target), assumed=assumed)
        items = write_items(offers.offers, chosen, rule)
        if not items:
            ctx.warn(f"lowrank split nothing ({rule})")
        return Plan(items, beside=prices)

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        """Split the layers that ``plan`` names and fit all of them to what the model computed."""
        layers = survey(model, ctx)
        tasks = read_items(plan.items, {**layers.refused, **layers.layers})
        may = self._selected(layers)
        refused = {may.names[name]: why for name, why in may.refused.items() if name not in tasks}
        prices = Prices.beside(plan)
        tell_kept(may.layers, refused, tasks, prices, ctx)
        said = (summary(layers, tasks, prices), ctx.summary)
        ctx.reported("; ".join(text for text in said if text), prices=prices.to_json())
        if tasks:
            alone = all(item.get("alone") for item in plan.items)
            carry_out(layers, tasks, ctx, others=self.refit and not alone)

    def offer(self, model: ir.Model, ctx: Context, saves: str) -> Offer | None:
        """The layers at a few ranks; None with a goal of its own, or without samples to price them by."""
        if self.has_goal:
            return None
        before = self._survey(model.copy(), ctx)
        if before.samples is None:
            return None
        block = self._block(ctx)
        offers = make_offers(before, self.kinds, block, ctx, hint=self.hint)
        prices = Prices({price.layer: price for price in offers.prices})
        rule = f"by the run's budget for {saves}, at one price for all moves"

        def plan(now: ir.Model, taken: Sequence[Move], now_ctx: Context) -> Plan:
            splits = translated(self._survey(now, now_ctx).layers, taken, block)
            if not splits:
                now_ctx.warn(f"lowrank split nothing ({rule})")
            return Plan(tuple(write_item(offer, one, rule) for offer, one in splits), beside=prices)

        return Offer(tuple(moves(offers.offers, saves, ctx)), plan)

    def trials(self, model: ir.Model, ctx: Context) -> Iterator[Trial]:
        """Each layer alone, in the way that suits it best; levels are the fractions of its rank left."""
        layers = self._survey(model, ctx)
        offers = make_offers(layers, self.kinds, self._block(ctx), ctx, rank=None, hint="none")
        yield from trials(offers.offers)

    def _survey(self, model: ir.Model, ctx: Context) -> Survey:
        return self._selected(survey(model, ctx))

    def _selected(self, layers: Survey) -> Survey:
        """The survey without the layers that the options leave alone."""
        self._selection.check("lowrank", layers.model.graph.find(*LAYERS))
        return layers.without(self._refusal)

    def _refusal(self, layer: Layer) -> str:
        return self._selection.refusal(layer.node) or narrow(layer, self.min_channels)

    @property
    def _selection(self) -> Selection:
        return Selection(self.include, self.exclude)

    def _block(self, ctx: Context) -> int:
        return channel_block(ctx.target) if self.round_to is None else self.round_to

    def _request(self) -> Request:
        goal = next((goal for goal in GOALS if getattr(self, goal) is not None), "")
        amount = float(getattr(self, goal)) if goal else 0.0
        max_drop = MAX_DROP if self.max_drop is None else self.max_drop
        return Request(goal, amount, self.shared, max_drop, self.kinds)
