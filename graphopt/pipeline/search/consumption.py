"""What a model takes up, latency, MACs, bytes or parameters, under any set of moves: layer by layer.

Layers are what moves narrow, replace or store otherwise; whatever else a model holds does not change.  As
moves say what they do to which layer, those that meet in one are priced together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphopt import cost, ir
from graphopt.cost import LatencySurface, LatencyTable, LayerShape, latency_surfaces
from graphopt.cost.latency.layer_shape import INTEGER
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.contract.moves import Effect
from graphopt.pipeline.search.weighted_macs import WEIGHTED_MACS, WEIGHTS, weighted_macs
from graphopt.targets.host import channel_block

WIDTHS = (0.25, 0.5, 1.0)  # time: of the full width, at which layers are timed
SECONDS = 20.0  # time: for timing layers that the table of this machine does not have
PER_KERNEL, PER_ELEMENT = 2e-3, 1e-6  # time: ms of storing or reading a tensor again, as quant takes them
ITEM = {INTEGER: 1, "float16": 2}  # bytes of a weight by kernel; others keep their own


@dataclass(frozen=True)
class State:
    """What moves have made of one layer."""

    inputs: int
    outputs: int
    kernel: str = ""
    share: float = 1.0
    integer_share: float = 1.0

    @property
    def left(self) -> float:
        """What is left of its work and weights, in the kernel that it computes in."""
        return self.integer_share if self.kernel == INTEGER else self.share

    def after(self, effect: Effect) -> State:
        """The layer with one more effect."""
        return State(
            max(self.inputs - effect.inputs, 1),
            max(self.outputs - effect.outputs, 1),
            effect.kernel or self.kernel,
            self.share * effect.share,
            self.integer_share * (effect.share if effect.integer_share is None else effect.integer_share),
        )


@dataclass
class CostedLayer:
    """One layer, what it takes up in any state, and its times by kernel."""

    shape: LayerShape
    positions: float  # at which its weights are applied in a run
    item: int  # bytes of a weight
    surfaces: Mapping[str, LatencySurface] = field(default_factory=dict)
    kept: dict[tuple[str, State], float] = field(default_factory=dict)

    @property
    def whole(self) -> State:
        """The layer as it is."""
        return State(self.shape.inputs, self.shape.outputs)

    def takes(self, goal: str, state: State) -> float:
        """What it takes up: milliseconds, MACs, bytes or parameters."""
        key = goal, state
        if key not in self.kept:
            self.kept[key] = state.left * self._takes(goal, state)
        return self.kept[key]

    def _takes(self, goal: str, state: State) -> float:
        if goal == "latency":
            surface = self.surfaces.get(state.kernel, self.surfaces[""])
            return float(surface(state.inputs, state.outputs))
        weights = math.prod(self.shape.weight) * state.inputs / self.shape.inputs
        if not self.shape.is_tied:
            weights *= state.outputs / self.shape.outputs
        if goal == "macs":
            return self.positions * weights
        if goal == WEIGHTED_MACS:
            return self.positions * weights * WEIGHTS.get(state.kernel, 1.0)
        return weights * (ITEM.get(state.kernel, self.item) if goal == "bytes" else 1)


@dataclass(frozen=True)
class Edge:
    """A tensor between two layers, or a layer and the border of the model (""): its ``crossing`` in ms.

    That is what it takes to store or read it again where the kernels on its two sides differ.
    """

    maker: str
    reader: str
    crossing: float


class Consumption:
    """What a model takes up of one goal, in its own unit; ``total`` is all of it.

    ``edges`` are those of each layer by name, where crossing from one kernel to another takes time.
    """

    def __init__(
        self, goal: str, layers: Mapping[str, CostedLayer], total: float, edges: Sequence[Edge] = ()
    ) -> None:
        self.goal = goal
        self.layers = layers
        self.total = total
        self.every_edge = tuple(edges)
        self.edges: dict[str, list[Edge]] = {name: [] for name in layers}
        for edge in edges:
            for name in {edge.maker, edge.reader} & layers.keys():
                self.edges[name].append(edge)

    @classmethod
    def measured(cls, goal: str, model: ir.Model, ctx: Context, kernels: Sequence[str]) -> Consumption:
        """Count, or look up and measure, what the layers of ``model`` take, in ``kernels`` too."""
        shapes = ir.infer_shapes(model, dict(ctx.shapes))
        totals = cost.measure(model, ctx.shapes, custom_ops=ctx.settings.session.custom_ops)
        by_name = {layer.name: layer.macs for layer in cost.layers(model, ctx.shapes)}
        layers: dict[str, CostedLayer] = {}
        for node in model.graph.nodes:
            shape = LayerShape.of(node, shapes)
            if shape is None or not shape.weight:
                continue
            macs = by_name.get(node.name or node.output.name) or 0
            item = node.inputs[1].constant.itemsize if node.inputs[1].constant is not None else 4
            layers[node.output.name] = CostedLayer(shape, macs / max(math.prod(shape.weight), 1), item)
        if goal == "latency":
            _time(list(layers.values()), ctx, kernels)
            total = sum(layer.takes(goal, layer.whole) for layer in layers.values())
            return cls(goal, layers, total, list(_edges(model, layers, shapes)) if kernels else ())
        if goal == WEIGHTED_MACS:
            return cls(goal, layers, weighted_macs(model, ctx.shapes))
        counted = {"macs": totals.macs, "params": totals.parameters, "bytes": model.weight_bytes}
        return cls(goal, layers, float(counted[goal] or 0))

    def states(self, effects: Sequence[Effect]) -> dict[str, State]:
        """The layers that some effects touch, as they become."""
        states: dict[str, State] = {}
        for effect in effects:
            if effect.layer in self.layers:
                before = states.get(effect.layer, self.layers[effect.layer].whole)
                states[effect.layer] = before.after(effect)
        return states

    def saved(self, effects: Sequence[Effect]) -> float:
        """What effects save together."""
        states = self.states(effects)
        kernels = {name: state.kernel for name, state in states.items()}
        return sum(
            self.layers[name].takes(self.goal, self.layers[name].whole)
            - self.layers[name].takes(self.goal, state)
            for name, state in states.items()
        ) - crossings(self.every_edge, kernels)


def crossings(edges: Iterable[Edge], kernels: Mapping[str, str]) -> float:
    """Milliseconds of crossing where the kernels of two neighbours differ; what has none is as it was."""
    return sum(edge.crossing for edge in edges if kernels.get(edge.maker, "") != kernels.get(edge.reader, ""))


def _edges(
    model: ir.Model, layers: Mapping[str, CostedLayer], shapes: Mapping[str, ir.Shape]
) -> Iterator[Edge]:
    """What leads from layer to layer, past whatever is no layer, from the inputs and to the outputs."""
    reached: dict[str, set[str]] = {tensor.name: {""} for tensor in model.graph.inputs}
    for node in model.graph.nodes:
        makers = {maker for tensor in node.inputs for maker in reached.get(tensor.name, ())}
        is_layer = bool(node.outputs) and node.output.name in layers
        if is_layer:
            crossing = _crossing(node.inputs[0].name, shapes)
            for maker in sorted(reached.get(node.inputs[0].name, ())):
                yield Edge(maker, node.output.name, crossing)
        for tensor in node.outputs:
            reached[tensor.name] = {node.output.name} if is_layer else makers
    for tensor in model.graph.outputs:
        for maker in sorted(reached.get(tensor.name, set()) - {""}):
            yield Edge(maker, "", _crossing(tensor.name, shapes))


def _crossing(tensor: str, shapes: Mapping[str, ir.Shape]) -> float:
    shape = ir.static_shape(shapes.get(tensor))
    return PER_KERNEL + PER_ELEMENT * (0 if shape is None else math.prod(shape))


def _time(every: Sequence[CostedLayer], ctx: Context, kernels: Sequence[str]) -> None:
    """Look up or measure the times of layers in floats and in the kernels that moves lead to."""
    table = LatencyTable.open(
        ctx.settings.times, ctx.threads, seconds=SECONDS, progress=ctx.settings.progress
    )
    timed = [kernel for kernel in kernels if kernel == INTEGER]  # of others it is not known how to time them
    shapes = [layer.shape for layer in every]
    asked = [*shapes, *(dataclasses.replace(s, dtype=dtype) for dtype in timed for s in shapes)]
    block = channel_block(ctx.target)
    surfaces = latency_surfaces(table, asked, block=block, fractions=WIDTHS)
    for number, layer in enumerate(every):
        places = {"": number, **{kernel: (1 + i) * len(every) + number for i, kernel in enumerate(timed)}}
        layer.surfaces = {kernel: surfaces[place] for kernel, place in places.items()}
