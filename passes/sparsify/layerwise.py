"""Make layer after layer sparse, each fitted to what the original computed on what it really reads by then.

Inputs come from the network whose layers before are sparse already, targets from the original; a dense fit
says what the weights should be, then weights are taken out one column after another, the others making up
for it (``graphopt.solve.sparse_fit``).  Where samples that were not fitted to say that plain zeros do better,
plain zeros it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import ActivationCheckpoint, Gram, walk_cuts
from graphopt.passes.sparsify.elimination import sparse_fit
from graphopt.solve import SAMPLES, Unjudged, damping, fit, judges, squared_error

from .pattern import Pattern
from .weights import Layer

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Fitted:
    """A layer made sparse: its error on samples not fitted to, relative to its output's variance."""

    layer: Layer
    zeroed: float  # with plain zeros
    fitted: float


def sparsify_fitted(
    model: ir.Model, wanted: Mapping[str, Pattern], layers: Sequence[Layer], samples: Samples, ctx: Context
) -> Iterator[Fitted]:
    """Make these layers sparse in place, in the order of the graph; ``wanted`` is by the layer's output."""
    samples = samples.take(SAMPLES)
    original = ActivationCheckpoint(model.copy(), samples, ctx.session)
    present = ActivationCheckpoint(model, samples, ctx.session)
    nodes, unjudged = [layer.node for layer in layers], Unjudged("sparsify", len(samples))
    following = zip(layers, walk_cuts(model.graph, nodes), strict=True)
    for layer, (cut, then) in ctx.progress("sparsify: fitting layers", following, len(layers)):
        pattern = wanted[layer.node.output.name]
        if not layer.is_fittable:
            zero(layer, pattern)
            continue
        original.advance(cut)
        present.advance(cut)
        sums, judge = _sums(layer, original, present, ctx.seed, then)
        if sums.count and judge.count:
            yield _fit(layer, pattern, sums, judge)
        else:
            unjudged.add(layer.name)
            zero(layer, pattern)
    if unjudged.sentence:
        ctx.warn(unjudged.sentence)


def zero(layer: Layer, pattern: Pattern) -> None:
    """Set the smallest weights to zero and leave the others as they are."""
    layer.store(_zeroed(layer, pattern))


def _zeroed(layer: Layer, pattern: Pattern) -> np.ndarray:
    matrix, sizes = layer.matrix(), layer.sizes()
    groups, unknowns, outputs = matrix.shape
    choose = pattern.chooser(sizes.reshape(1, groups * outputs, unknowns))
    gone = choose(np.square(matrix).transpose(0, 2, 1).reshape(groups * outputs, unknowns))
    return np.where(gone.reshape(groups, outputs, unknowns).transpose(0, 2, 1), 0.0, matrix)


def _sums(
    layer: Layer,
    original: ActivationCheckpoint,
    present: ActivationCheckpoint,
    seed: int,
    then: Sequence[str],
) -> tuple[Gram, Gram]:
    """Sums over the samples to fit to, and over those that judge."""
    source, target = layer.node.inputs[0].name, layer.node.output.name
    sums = tuple(Gram(layer.patches, bias=layer.biased, seed=seed) for _ in range(2))
    pairs = zip(original.stream([target], then), present.stream([source]), strict=True)
    for number, (there, here) in enumerate(pairs):
        sums[judges(number, original.samples)].update(here[source], there[target])
    return sums[0], sums[1]


def _fit(layer: Layer, pattern: Pattern, sums: Gram, judge: Gram) -> Fitted:
    order = layer.order()
    order = np.append(order, len(order)) if layer.biased else order
    current = layer.matrix()
    plain = _zeroed(layer, pattern)
    if layer.biased:
        row = _bias(layer, current)
        current, plain = np.concatenate([current, row], axis=1), np.concatenate([plain, row], axis=1)
    gram, cross = sums.gram[:, order][:, :, order], sums.cross[:, order]
    held = damping(gram, bias=layer.biased, rows=sums.count)
    dense = fit(gram, cross, current, held)
    choose = pattern.chooser(layer.sizes())
    sparse = sparse_fit(gram, dense, choose, bias=layer.biased, block=pattern.block)
    errors = [_error(judge, order, weights, layer.biased) for weights in (plain, sparse)]
    best = sparse if errors[1] <= errors[0] else plain
    layer.store(best[:, :-1] if layer.biased else best)
    if layer.biased and best is sparse:
        layer.shift(sparse[:, -1] - current[:, -1])
    return Fitted(layer, errors[0], min(errors))


def _bias(layer: Layer, matrix: np.ndarray) -> np.ndarray:
    """The bias as a row, (groups, 1, outputs)."""
    bias = layer.node.input(2)
    values = np.zeros(1) if bias is None else np.asarray(bias.constant, np.float64).ravel()
    return np.broadcast_to(values, matrix.shape[0] * matrix.shape[2]).reshape(len(matrix), 1, -1)


def _error(sums: Gram, order: np.ndarray, weights: np.ndarray, biased: bool) -> float:
    energy = float(sums.energy.sum())
    if biased:
        energy -= float(np.square(sums.cross[:, -1]).sum()) / sums.count
    error = squared_error(sums.gram[:, order][:, :, order], sums.cross[:, order], sums.energy, weights)
    return error / max(energy, 1e-30)
