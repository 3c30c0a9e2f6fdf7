"""From a model to the items of its plan: rewrite, place, measure ranges, decide parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphopt.ir import Model, Node

from .calibration.decisions import tensor_items
from .calibration.ranges import MINMAX, Calibrator, measure_ranges, widen_pools
from .insertion.insertion import insert
from .items import (
    GateItem,
    Item,
    PadItem,
    PerChannelReadItem,
    RescaleItem,
    RewriteItem,
    ScalarItem,
    WeightItem,
    node_id,
)
from .placement.mismatched_concats import mixed_tails
from .placement.placement import Placement, Refusal, place
from .placement.rules import weight_shape
from .rewrites import carry_out, find_rewrites
from .scheme import OPSET, Scheme

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Draft:
    """What a plan will say of ``model``, a rewritten copy whose nodes ``placement`` and ``items`` name."""

    model: Model
    placement: Placement
    items: tuple[Item, ...]

    def stored(self) -> Model:
        """A quantized copy of the model, with nearest integers."""
        made = self.model.copy()
        insert(made.graph, self.items)
        return made


@dataclass
class PlanBuilder:
    """Makes drafts for one model, which stays as it is; ranges that one has measured serve the next.

    ``refused`` gives the user's reasons, ``limit`` is the largest integer of a weight, ``sums`` the integers
    that the processor adds pairs of products in.  Ranges are measured on ``samples``, else on all.
    """

    model: Model
    scheme: Scheme
    refused: Refusal
    limit: int
    ctx: Context
    calibrator: Calibrator = MINMAX
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    sums: str = "int32"
    samples: Samples | None = None

    def draft(self, floats: Mapping[str, str]) -> Draft:
        """Decide, leaving the nodes float whose id is in ``floats``, for the reason given there."""

        def refused(node: Node) -> str | None:
            return self.refused(node) or (floats.get(node_id(node)) if node.outputs else None)

        model, rewrites = self._rewritten(refused)
        placement = place(model, refused, self.scheme.target)
        if not placement.layers:
            return Draft(model, placement, tuple(rewrites))
        ranges = self._measured(model, placement)
        tails = mixed_tails(model.graph, placement, ranges)
        if tails:
            return self._without(tails, floats)
        return Draft(model, placement, (*rewrites, *self._items(placement, ranges)))

    def _without(self, tails: Mapping[str, str], floats: Mapping[str, str]) -> Draft:
        """The draft that leaves tails float too, and says so."""
        made = self.draft({**floats, **tails})
        skipped = {node for node, _ in made.placement.skips}
        joins = [n for n in made.model.graph.find("Concat") if node_id(n) in tails and n not in skipped]
        made.placement.skips += [(node, tails[node_id(node)]) for node in joins]
        return made

    def _rewritten(self, refused: Refusal) -> tuple[Model, list[RewriteItem]]:
        """A copy in which what then runs on integers is rewritten, and how; the rest is as it was."""
        target, model = self.scheme.target, self.model.copy()
        rewrites = find_rewrites(model, target, refused)
        if not rewrites:
            return model, []
        placement = place(model, refused, target)
        useful = {node_id(n) for n in placement.integer} | {node_id(n) for n in placement.absorbed}
        kept = [item for item in rewrites if item.node in useful]
        if len(kept) < len(rewrites):
            model = self.model.copy()
            carry_out(model, list(kept), target)
        return model, kept

    def _items(self, placement: Placement, ranges: Mapping[str, tuple[float, float]]) -> Iterator[Item]:
        yield from tensor_items(placement, ranges, self.scheme)
        for node in placement.layers:
            name, weight = node_id(node), node.inputs[1].name
            yield WeightItem(
                name, weight, self.scheme.axis(node), self.limit, self.scheme.target.bias, self.sums
            )
        yield from (RescaleItem(node_id(node)) for node in placement.rescaled)
        yield from (PadItem(node_id(node)) for node in placement.pads)
        yield from (ScalarItem(node_id(node)) for node in placement.scalars)
        yield from (GateItem(node_id(node)) for node in placement.gates)
        if self.scheme.opset >= OPSET:
            yield from (PerChannelReadItem(node_id(node), _input_channels(node)) for node in placement.walls)

    def _measured(self, model: Model, placement: Placement) -> dict[str, tuple[float, float]]:
        """The range of every tensor whose range decides; samples are run for new ones alone."""
        wanted = {stored.source.name: stored.bounds for stored in placement.stored}
        new = {name: bounds for name, bounds in wanted.items() if name not in self.ranges}
        if new:
            self.ranges |= measure_ranges(model, new, self.ctx, self.calibrator, self.samples)
        ranges = {name: self.ranges[name] for name in wanted}
        widen_pools(ranges, (stored.source for stored in placement.stored))
        return ranges


def _input_channels(node: Node) -> int:
    """How many channels a float layer reads (axis 1 of its input)."""
    shape = weight_shape(node)
    assert shape is not None  # placement asks
    if node.op == "Conv":  # (out, in / group, *kernel)
        return shape[1] * int(node.attr("group", 1))
    if node.op == "ConvTranspose":  # (in, out / group, *kernel)
        return shape[0]
    return shape[1 if node.attr("transB", 0) else 0]
