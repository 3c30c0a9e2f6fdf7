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
from graphopt.calibration import Gram
from graphopt.passes.sparsify.elimination import sparse_fit
from graphopt.solve import SAMPLES, Judged, LayerRegression, LayerwiseFit

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
    fit = LayerwiseFit("sparsify", model.copy(), model, samples.take(SAMPLES), ctx)
    for layer, cut, then in fit.walk(layers, [layer.node for layer in layers]):
        pattern = wanted[layer.node.output.name]
        regression = LayerRegression.of(layer.node, cut)
        if isinstance(regression, str) or not layer.is_fittable:
            zero(layer, pattern)
            continue
        regression, sums = fit.sums(regression, cut, then, layer.name)
        if sums.fitted.count and sums.judged.count:
            yield _fit(layer, pattern, regression, sums)
        else:
            zero(layer, pattern)


def zero(layer: Layer, pattern: Pattern) -> None:
    """Set the smallest weights to zero and leave the others as they are."""
    layer.store(_zeroed(layer, pattern))


def _zeroed(layer: Layer, pattern: Pattern) -> np.ndarray:
    matrix, sizes = layer.matrix(), layer.sizes()
    groups, unknowns, outputs = matrix.shape
    choose = pattern.chooser(sizes.reshape(1, groups * outputs, unknowns))
    gone = choose(np.square(matrix).transpose(0, 2, 1).reshape(groups * outputs, unknowns))
    return np.where(gone.reshape(groups, outputs, unknowns).transpose(0, 2, 1), 0.0, matrix)


def _fit(layer: Layer, pattern: Pattern, regression: LayerRegression, sums: Judged[Gram]) -> Fitted:
    """Set weights to zero, by what samples say or by size, whichever the judging samples prefer."""
    order, current = layer.order(), regression.matrix()
    if regression.biased:
        order = np.append(order, len(order))

    def sparse(part: Gram, _: np.ndarray | None) -> np.ndarray:
        choose = pattern.chooser(layer.sizes())
        gram, dense = part.gram[:, order][:, :, order], regression.solve(part, current)[:, order]
        return _reordered(sparse_fit(gram, dense, choose, bias=regression.biased, block=pattern.block), order)

    plain = current.copy()
    plain[:, layer.order()] = _zeroed(layer, pattern)
    best = sums.choose((sparse, lambda part, _: plain), np.asarray)
    regression.store(best.made)
    return Fitted(layer, best.errors[1], min(best.errors))


def _reordered(weights: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Weights (groups, n, outputs) back in the order that ``order`` took them from."""
    made = np.empty_like(weights)
    made[:, order] = weights
    return made
