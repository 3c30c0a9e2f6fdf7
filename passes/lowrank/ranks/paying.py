"""Which tool pays where: what splitting a layer costs against pruning the channels that it reads.

The price is the error (as a share of the variance that it goes into) for each multiply-accumulate saved.  For
pruning it is the exact cost of the cheapest quarter of the input channels after the best repair (Optimal
Brain Surgeon), and what goes are their rows here and the filters that make them.  Hidden units of an MLP
mostly go for less than a split of its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.passes.lowrank.solve.whitening import Inputs
from graphopt.solve import Elimination

from ..layers.layer import Layer
from ..layers.study import Studied
from .candidates import Offer

if TYPE_CHECKING:
    from graphopt.pipeline import Context, Plan

MOST = 2400  # time: inputs x kernel of a layer that is worth the time
PART = 4  # shown: one channel in so many is priced
LAYERS = ("Conv", "Gemm", "MatMul")
ELEMENTWISE = frozenset(
    {
        "Add",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "Pow",
        "Relu",
    }
    | {"Sigmoid", "Silu", "Softplus", "Sub", "Swish", "Tanh"}
)


@dataclass(frozen=True)
class Price:
    """Error for each multiply-accumulate saved at one layer, by pruning what it reads and by splitting it."""

    layer: str
    prune: float
    split: float

    @property
    def ratio(self) -> float:
        """How many times as much pruning costs."""
        return self.prune / max(self.split, 1e-300)

    @property
    def what(self) -> str:
        """The comparison in words."""
        if not np.isfinite(self.split):
            return "pruning the channels it reads pays more: no split of it saves enough"
        if self.prune < self.split:
            return f"pruning the channels it reads costs {self.ratio:.2g} times what a split does"
        return f"pruning the channels it reads would cost {self.ratio:.2g} times what a split does"


@dataclass(frozen=True)
class Prices:
    """The prices of the layers where both can be compared, by name; a plan has them beside its items."""

    by_layer: Mapping[str, Price]

    @classmethod
    def beside(cls, plan: Plan) -> Prices:
        """Those of a plan that was made in this process, else none."""
        return plan.beside if isinstance(plan.beside, cls) else cls({})

    @property
    def where_pruning_pays(self) -> int:
        """In how many layers pruning costs less."""
        return sum(price.prune < price.split for price in self.by_layer.values())

    def to_json(self) -> list[dict[str, object]]:
        """For each layer what pruning and splitting cost, as plain values."""
        return [
            {"layer": one.layer, "prune": one.prune, "lowrank": one.split if np.isfinite(one.split) else None}
            for one in self.by_layer.values()
        ]


def pruning_price(offer: Offer, studied: Studied, block: int, layers: Mapping[str, Layer]) -> list[Price]:
    """Return both prices, or nothing for a layer that reads channels which cannot be pruned by themselves."""
    layer, inputs = offer.layer, studied.inputs
    producer = _producer(layer.node)
    small = isinstance(inputs, Inputs) and layer.rows <= MOST and layer.stage.group == 1
    gone = -(-layer.inputs // PART // block) * block
    if producer is None or not small or gone >= layer.inputs or producer.output.name not in layers:
        return []
    taps = layer.rows // layer.inputs
    elimination = Elimination(inputs.covariance, studied.weights)
    blocks = np.arange(layer.rows).reshape(layer.inputs, taps)
    cheapest = np.argsort(elimination.costs(blocks), kind="stable")[:gone]
    error = elimination.remove(blocks[cheapest].ravel())
    saved = gone / layer.inputs * (layer.macs + layers[producer.output.name].macs)
    splits = [
        one.error / (layer.macs - one.macs)
        for one in offer.candidates
        if layer.macs - one.macs >= saved / 2 or layer.macs - one.macs >= layer.macs / PART
    ]
    split = min(splits, default=np.inf)
    return [Price(layer.name, offer.scale * error / saved, offer.scale * float(split))]


def tell_what_pays(prices: Prices, ctx: Context) -> None:
    """Say where pruning would pay more than splitting; skips say it of single layers."""
    better, total = prices.where_pruning_pays, len(prices.by_layer)
    if not total:
        return
    if 2 * better > total:
        ctx.warn(
            f"pruning pays more than low rank in {better} of the {total} layers where both can be "
            "compared: a goal is met at less loss with prune before lowrank, or alone"
        )
    names = list(prices.by_layer)
    ratios = [
        float(np.log10(max(p.prune, 1e-300) / max(p.split, 1e-300))) if np.isfinite(p.split) else -3.0
        for p in prices.by_layer.values()
    ]
    title = "price of pruning against low rank (powers of ten; below 0 pruning is cheaper)"
    ctx.figure("bars", title, {"names": names, "values": ratios, "y_label": "log10(prune / lowrank)"})


def _producer(node: ir.Node) -> ir.Node | None:
    """The layer whose filters make the channels that a node alone reads.

    Between them lie activations, also spelled out, and biases: all that comes in comes from that one layer.
    """
    between, makers = {node}, set[ir.Node]()
    pending = [node.inputs[0]]
    seen = set(pending)
    while pending:
        tensor = pending.pop()
        maker = tensor.producer
        if maker is None or maker.graph is None or maker.graph.is_output(tensor):
            return None
        if maker.op in LAYERS and not _is_depthwise(maker):
            makers.add(maker)
            continue
        if maker.op not in ELEMENTWISE and not _is_depthwise(maker):
            return None
        between.add(maker)
        given = list(maker.inputs)[:1] if _is_depthwise(maker) else list(maker.inputs)
        fresh = [one for one in given if one.name and one.constant is None and one not in seen]
        seen.update(fresh)
        pending += fresh
    inner = all(set(tensor.consumers) <= between for tensor in seen)
    return makers.pop() if len(makers) == 1 and inner else None


def _is_depthwise(node: ir.Node) -> bool:
    weight = node.inputs[1].constant if node.op == "Conv" else None
    return weight is not None and weight.shape[1] == 1 and int(node.attr("group", 1)) == weight.shape[0] > 1
