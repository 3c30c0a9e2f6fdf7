"""Make up for storing in integers, without labels: one walk through the network, layer by layer.

The float and the quantized network are carried side by side.  What a layer reads comes from the quantized
one, whose layers before it are done, so every correction sees all errors before it and none is counted twice
(corrections computed for all layers at once make it worse).  For each layer its weights are rounded
so that its outputs move least (see ``second_order``), then its bias takes up what is left of the mean error.

Rounding is kept where it lowers the error of the layer, a bias moves as far as the samples agree on it, and
the whole stays only where it brings the outputs of the network closer on samples that nothing was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import ir
from graphopt.calibration import Gram, cuts
from graphopt.solve import Judged, LayerwiseFit, damping, has_affordable_gram, judges, squared_error
from graphopt.solve import fit as least_squares

from ..verify.sessions import integers_instead, open_stored
from .second_order import DAMPING, fitted_scale, nearest, rounding_error, searched_scale, second_order
from .stored_layer import StoredLayer

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Array
    from graphopt.pipeline import Context

SAMPLES = 128  # time: at most; more changed nothing
# measured (constants): positions of each sample; twice as many for layers that read more than MANY numbers
POSITIONS = 32
MANY = 256  # measured (constants): inputs of one output
NOISY = 0.1  # shown: of the variance of an output: more is shown with what could be tried


@dataclass(frozen=True)
class Tuning:
    """What the walk does.

    ``rounding`` of second order, ``bias`` correction, and for weights of few bits ``refit``: fit the weights
    to what the layer reads in the quantized network before they are rounded, and search their scales.
    """

    rounding: bool = True
    bias: bool = True
    refit: bool = False


@dataclass(frozen=True)
class Tuned:
    """The noise of a layer's output, relative to its variance, before and after its weights changed."""

    layer: str
    before: float
    after: float
    local: float  # of this, what its own rounded weights add

    @property
    def action(self) -> str:
        """What a user could try for a layer that is too noisy; empty for others."""
        if self.after < NOISY:
            return ""
        own = self.local > 0.5 * self.after
        return (
            f"exclude={self.layer}" if own else "look at the layers before it: most of this comes from there"
        )

    def to_json(self) -> dict[str, Any]:
        """The layer with its signal-to-noise ratios in dB, for the report."""
        local, whole = (round(-10 * math.log10(max(noise, 1e-12)), 2) for noise in (self.local, self.after))
        return {"layer": self.layer, "local_snr_db": local, "snr_db": whole, "action": self.action}


def tune(
    original: ir.Model,
    model: ir.Model,
    layers: Sequence[StoredLayer],
    samples: Samples,
    how: Tuning,
    ctx: Context,
) -> list[Tuned]:
    """Change integers and biases of ``layers`` in ``model``; return the layers with their errors.

    ``original`` computes the same in floats.  The layers stand in topological order.  Layers whose Gram
    matrices are not worth their memory (``graphopt.solve.has_affordable_gram``) keep the nearest integers,
    their errors are not known, and a warning names them; their biases are corrected.
    """
    open_changed = partial(open_stored, ctx=ctx)
    fit = LayerwiseFit("quant", original, model, samples.take(SAMPLES), ctx, open_changed=open_changed)
    model.sort()
    there = cuts(original.graph, [layer.exact for layer in layers])
    here = cuts(model.graph, [layer.node for layer in layers])
    integers = integers_instead(model.graph)
    done: list[Tuned] = []
    too_large: list[str] = []
    steps = ctx.progress("quant: rounding and correcting", zip(layers, there, here, strict=True), len(layers))
    for layer, before, behind in steps:
        fit.original.advance(before)
        fit.changed.advance(
            [name for name in dict.fromkeys(integers.get(name, name) for name in behind) if name]
        )
        seen = _look(layer, fit, POSITIONS * (4 if how.refit else 1), ctx.seed)
        name = str(layer.exact.name or layer.exact.output.name)
        if not seen.can_judge:
            fit.cannot_judge(name)
        elif seen.sums is None:
            too_large.append(name)
            _correct(model.graph, layer, seen, how, layer.integers * layer.scale[:, None, :])
        else:
            done.append(_tune(model.graph, layer, seen, seen.sums, how))
    fit.finish()
    if too_large:
        ctx.warn(
            f"quant: {', '.join(too_large)} keep the nearest integers: rounding them with care takes too "
            "much memory"
        )
    return done


def _tune(graph: ir.Graph, layer: StoredLayer, seen: _Seen, sums: Judged[Gram], how: Tuning) -> Tuned:
    best = sums.choose_by_all(_ways(layer, how), lambda made: made[0] * made[1][:, None, :])
    integers, scale = best.made
    if best.way:
        layer.rescale(graph, scale)
        layer.store(graph, integers)
    _correct(graph, layer, seen, how, integers * scale[:, None, :])
    own = rounding_error(layer.weights, layer.integers, layer.scale, covariance(sums.fitted))
    local = float(own.sum()) * sums.fitted.count / _energy(sums.fitted)
    return Tuned(layer.exact.output.name, best.errors[0], min(best.errors), local)


def _correct(graph: ir.Graph, layer: StoredLayer, seen: _Seen, how: Tuning, weights: Array) -> None:
    """Let the bias take up what these weights leave of the mean error, where asked for and possible."""
    if how.bias and layer.can_be_corrected:
        layer.correct(graph, seen.matching_bias(weights, layer.bias))


Integers = tuple["Array", "Array"]  # and their scales
Way = Callable[[Gram, "Integers | None"], Integers]


def _ways(layer: StoredLayer, how: Tuning) -> list[Way]:
    """Ways to set integers and scales, the simplest first."""
    present = layer.integers, layer.scale
    ways: list[Way] = [lambda sums, _: present]
    if how.rounding:
        ways.append(lambda sums, _: _rounded(layer, sums, how, refit=False))
    if how.refit:
        ways.append(lambda sums, _: _rounded(layer, sums, how, refit=True))
    return ways


def _rounded(layer: StoredLayer, sums: Gram, how: Tuning, *, refit: bool) -> Integers:
    """Round the weights, or with ``refit`` those fitted to what the layer reads, as well as sums allow."""
    spread = covariance(sums)

    def rounded(values: Array, scale: Array) -> Array:
        if how.rounding:
            return second_order(values, scale, layer.limit, spread)
        return nearest(values, scale, layer.limit)

    weights = _refitted(layer.weights, sums) if refit else layer.weights
    if not refit or not layer.has_channels:
        return layer.fitting(rounded(weights, layer.scale), layer.scale)
    scale = _float32(searched_scale(weights, layer.limit, spread, layer.least_scale))
    integers = rounded(weights, scale)
    last = np.maximum(fitted_scale(weights, integers, spread, scale), layer.least_scale)
    return layer.fitting(integers, _float32(last))


def _float32(scale: Array) -> Array:
    """Scales as they are stored."""
    return scale.astype(np.float32).astype(np.float64)


def _refitted(weights: Array, sums: Gram) -> Array:
    """The weights that bring what the layer reads now closest to what it should yield."""
    current = np.concatenate([weights, np.zeros((len(weights), 1, weights.shape[2]))], axis=1)
    held = damping(sums.gram, DAMPING, bias=True, rows=sums.count)
    return least_squares(sums.gram, sums.cross, current, held)[:, :-1]


def covariance(sums: Gram) -> Array:
    """The covariance of what a layer reads, (groups, n, n): the bias takes care of the mean."""
    gram = sums.gram / max(sums.count, 1)
    mean = gram[:, :-1, -1]
    return gram[:, :-1, :-1] - mean[:, :, None] * mean[:, None, :]


def _sums(layer: StoredLayer, positions: int, seed: int) -> Judged[Gram] | None:
    """Empty sums over single positions of what a layer reads and should yield, to round by and to judge by.

    None for a layer whose Gram matrices would take too much memory.
    """
    groups, rows, _ = layer.patches.shape(layer.exact.inputs[1].constant.shape)
    if not has_affordable_gram(groups, rows):
        return None
    positions = positions if rows <= MANY else 2 * positions
    fitted, judged = (Gram(layer.patches, positions=positions, seed=seed) for _ in range(2))
    return Judged(fitted, judged, lambda fitted, judged: fitted.merge(judged), _noise)


def _noise(sums: Gram, weights: Array) -> float:
    """Variance of the output's error, the bias making up for its mean, relative to the output's variance."""
    whole = np.concatenate([weights, _matching_bias(sums, weights)[:, None, :]], axis=1)
    return squared_error(sums.gram, sums.cross, sums.energy, whole) / _energy(sums)


def _energy(sums: Gram) -> float:
    """The variance of the outputs times their number, not below what divides without overflow."""
    energy = float(sums.energy.sum()) - float(np.square(sums.cross[:, -1]).sum()) / max(sums.count, 1)
    return max(energy, 1e-30)


class _Seen:
    """What a layer reads in the quantized network and what it should yield.

    ``sums`` of single positions tell how to round, None where they would take too much memory; means over all
    positions of a sample tell the bias, since an error of the mean is what later averages do not take away.
    """

    def __init__(self, layer: StoredLayer, positions: int, seed: int) -> None:
        self._patches = layer.patches
        self._axis = -1 if layer.node.op in ("Gemm", "MatMul") else 1
        self.sums = _sums(layer, positions, seed)
        self._means: list[tuple[Array, Array]] = []  # of rows and of outputs, for each sample
        self._judging: list[int] = []

    @property
    def can_judge(self) -> bool:
        """Whether there is something to fit to, and something else to judge by."""
        if self.sums is None:
            return 0 < len(self._judging) < len(self._means)
        return self.sums.fitted.count > 0 and self.sums.judged.count > 0

    def update(self, read: Array, wanted: Array, is_judging: bool) -> None:
        """Take in what the layer reads and should yield for one sample."""
        if self.sums is not None:
            (self.sums.judged if is_judging else self.sums.fitted).update(read, wanted)
        others = tuple(axis for axis in range(wanted.ndim) if axis != self._axis % wanted.ndim)
        if is_judging:
            self._judging.append(len(self._means))
        self._means.append((self._patches.means(read), wanted.mean(axis=others).astype(np.float64)))

    def matching_bias(self, weights: Array, present: Array | None) -> Array:
        """The bias with which a layer of these weights has the wanted mean output, (channels,).

        The step from the present bias is the smaller, the less sure the samples are of it.
        """
        count = len(self._means)
        fitted = [number for number in range(count) if number not in self._judging]
        given = 0.0 if present is None else present
        steps = np.array([self._missing(weights, number) - given for number in fitted])
        mean, doubt = steps.mean(axis=0), steps.var(axis=0) / len(fitted)
        square = np.square(mean)
        return given + mean * square / np.maximum(square + doubt, 1e-300)

    def _missing(self, weights: Array, number: int) -> Array:
        rows, outputs = self._means[number]
        return outputs - np.einsum("gn,gno->go", rows, weights).reshape(-1)


def _matching_bias(sums: Gram, weights: Array) -> Array:
    """The bias with which the mean error of all rows vanishes, (groups, outputs)."""
    count = max(sums.count, 1)
    mean, wanted = sums.gram[:, -1, :-1] / count, sums.cross[:, -1, :] / count
    return wanted - np.einsum("gn,gno->go", mean, weights)


def _look(layer: StoredLayer, fit: LayerwiseFit, positions: int, seed: int) -> _Seen:
    seen, count = _Seen(layer, positions, seed), fit.original.samples
    source, target = layer.node.inputs[0].name, layer.exact.output.name
    pairs = zip(fit.changed.stream([source]), fit.original.stream([target]), strict=True)
    for number, (here, there) in enumerate(pairs):
        seen.update(here[source], there[target], judges(number, count))
    return seen
