"""Carry a plan out: every layer in order is split, or fitted anew, to what the original network computed.

Each layer first gets the least-squares weights for what it reads in the network as it has become, and those
are split with the covariance of just that.  A fit is kept only when it lowers the error on samples that were
not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import Gram
from graphopt.ir.transform.layer_bias import vector_bias
from graphopt.ir.transform.linear import LAYERS
from graphopt.ir.traversal import reads
from graphopt.passes.lowrank.solve.whitening import Inputs
from graphopt.solve import SAMPLES, Judged, LayerRegression, LayerwiseFit, has_affordable_gram
from graphopt.solve.limits import NOTHING

from ..layers.layer import Layer, label
from ..layers.study import Studied, blind
from ..ways.kinds import Factors, Kind, Ranks
from .surgery import replace_layer

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Task:
    """A layer and what it becomes."""

    layer: Layer
    kind: Kind
    ranks: Ranks

    def split(self, studied: Studied) -> Factors:
        """Return the factors for these statistics."""
        return self.kind.prepare(self.layer, studied.inputs, studied.weights, [self.ranks]).factors(
            self.ranks
        )


@dataclass(frozen=True)
class Done:
    """What became of one layer: its output's error on samples not fitted to, as a share of its variance.

    A layer that was split has no error ``before``, and one that was not fitted none ``after``.
    """

    layer: str
    before: float | None
    after: float | None
    values: np.ndarray | None = None  # singular values (groups, full rank) that the split has cut
    rank: int = 0  # how many of each group are left


def split_alone(graph: ir.Graph, task: Task, studied: Studied) -> Done:
    """Replace one layer by factors that keep the mean of its output, whatever comes before or after."""
    factors = task.split(studied)
    bias = _bias(task.layer)
    if task.layer.biased:
        lost = np.einsum("gnm,gn->gm", studied.weights - factors.matrix, studied.inputs.mean).ravel()
        if bias is not None or np.any(lost):
            bias = lost if bias is None else bias + lost
    _put(graph, task, factors, bias)
    return Done(task.layer.name, None, None, factors.values, task.ranks[0])


def fit_all(
    original: ir.Model,
    model: ir.Model,
    tasks: Mapping[str, Task],
    studied: Mapping[str, Studied],
    samples: Samples,
    ctx: Context,
    *,
    others: bool,
) -> list[Done]:
    """Split the layers of ``tasks`` in ``model``, by the names of their outputs, and fit ``others`` anew too.

    ``studied`` has the layers that are too large to be fitted.
    """
    model.sort()
    nodes = _worth_fitting(model.graph, tasks, others)
    fit = LayerwiseFit("lowrank", original, model, samples.take(SAMPLES), ctx)
    done = []
    for node, cut, then in fit.walk(nodes, nodes):
        task = tasks.get(node.output.name)
        if task is not None and node.output.name in studied:
            done.append(split_alone(model.graph, task, studied[node.output.name]))
            continue
        regression = LayerRegression.of(node, cut)
        if isinstance(regression, str):
            continue
        result = _fit(model.graph, task, *fit.sums(regression, cut, then, label(node)))
        if result is not None:
            done.append(result)
    return done


def _worth_fitting(graph: ir.Graph, tasks: Mapping[str, Task], others: bool) -> list[ir.Node]:
    """The layers to split, and those behind one of them, in order: before it nothing has changed."""
    nodes: list[ir.Node] = []
    changed: set[ir.Tensor] = set()
    for node in graph.nodes:
        is_task = bool(node.outputs) and node.output.name in tasks
        if is_task or any(tensor in changed for tensor in reads(node)):
            changed.update(node.outputs)
            if is_task or (others and node.is_standard and node.op in LAYERS and _may_fit(node)):
                nodes.append(node)
    return nodes


def _may_fit(node: ir.Node) -> bool:
    aim = LayerRegression.of(node, ())
    if isinstance(aim, str):
        return False
    groups, unknowns, _ = aim.patches.shape(aim.weight.shape)
    return has_affordable_gram(groups, unknowns)


def _fit(graph: ir.Graph, task: Task | None, aim: LayerRegression, sums: Judged[Gram]) -> Done | None:
    current = aim.matrix()
    if task is None:
        return _fit_whole(aim, current, sums) if sums.fitted.count and sums.judged.count else None
    if not sums.fitted.count:
        return split_alone(graph, task, next(blind([task.layer])))
    if not sums.judged.count:
        factors, weights = _split(aim, task, sums.fitted, current)
        error = None
    else:
        ways = (
            lambda part, _: _split(aim, task, part, aim.solve(part, current)),
            lambda part, _: _split(aim, task, part, current),
        )
        best = sums.choose(ways, lambda made: made[1])
        (factors, weights), error = best.made, min(best.errors)
    _put(graph, task, factors, weights[:, -1].ravel() if aim.biased else None)
    return Done(label(aim.node) or task.layer.name, None, error, factors.values, task.ranks[0])


def _fit_whole(aim: LayerRegression, current: np.ndarray, sums: Judged[Gram]) -> Done | None:
    """Fit a layer that is not split; leave it when that is not better."""
    if aim.error(sums.judged, current) <= NOTHING:
        return None
    best = sums.choose((lambda part, _: current, lambda part, _: aim.solve(part, current)), np.asarray)
    if best.way == 0:
        return None
    aim.store(best.made)
    before, after = best.errors
    return Done(label(aim.node), before, after)


def _split(aim: LayerRegression, task: Task, sums: Gram, base: np.ndarray) -> tuple[Factors, np.ndarray]:
    """Split weights ``base`` that include a bias; return the product too, its bias keeping the mean."""
    inputs = Inputs.of(sums.gram, max(sums.count, 1), bias=aim.biased)
    matrix = base[:, :-1] if aim.biased else base
    factors = task.split(Studied(task.layer, inputs, matrix, 0.0, 0.0))
    if not aim.biased:
        return factors, factors.matrix
    lost = np.einsum("gnm,gn->gm", matrix - factors.matrix, inputs.mean)
    return factors, np.concatenate([factors.matrix, (base[:, -1] + lost)[:, None]], axis=1)


def _bias(layer: Layer) -> np.ndarray | None:
    bias = layer.node.input(2)
    if bias is None:
        return None
    values = np.asarray(bias.constant, np.float64) * float(layer.node.attr("beta", 1.0))
    return np.broadcast_to(values, layer.stage.outputs).copy()


def _put(graph: ir.Graph, task: Task, factors: Factors, bias: np.ndarray | None) -> None:
    place = vector_bias(task.layer.node)
    if place is not None and place.node is not task.layer.node:  # it stays where it is, behind the factors
        if bias is not None:
            graph.set_constant(place.node, place.index, bias.astype(task.layer.dtype))
        bias = None
    stages = task.kind.stages(task.layer, task.ranks)
    replace_layer(graph, task.layer, stages, factors.weights, bias)
