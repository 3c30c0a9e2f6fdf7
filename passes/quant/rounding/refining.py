"""Tune the integers of a quantized network, and keep of it what brings the outputs closer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.solve import Judging

from ..items import Item, TuneItem, WeightItem, nodes_by_id
from ..search.output_sqnr import Deviation
from .stored_layer import StoredLayer
from .tuning import SAMPLES, Tuned, Tuning, tune

if TYPE_CHECKING:
    from graphopt.ir import Array
    from graphopt.pipeline import Context

Parameters = tuple["Array", "Array", "Array | None"]  # integers, scale and bias of a layer


@dataclass(frozen=True)
class Refined:
    """What came of refining, in a sentence, and the layers whose changed integers were kept."""

    said: str = ""
    layers: tuple[Tuned, ...] = ()


def refine(original: ir.Model, model: ir.Model, items: Iterable[Item], ctx: Context) -> Refined:
    """Carry out the TuneItem among ``items`` on ``model``, which stores the float ``original``.

    The report gets the errors of all layers.
    """
    items = list(items)
    wanted = next((item for item in items if isinstance(item, TuneItem)), None)
    layers = stored_layers(original, model, items) if wanted is not None else []
    if wanted is None or not layers:
        return Refined()
    how = Tuning(wanted.rounding, wanted.bias, wanted.refit)
    samples = ctx.calibration.take(SAMPLES)
    deviation = Deviation(original, Judging(samples), ctx)
    if not deviation.can_judge:
        return Refined(
            "rounded to nearest: no float tensor shows whether more care would bring the outputs closer"
        )
    plain, before = _parameters(layers), deviation.of(model)
    done = tune(original, model, layers, samples, how, ctx)
    ctx.details["layers"] = [layer.to_json() for layer in sorted(done, key=lambda layer: -layer.after)]
    tuned, after = _parameters(layers), deviation.of(model)
    if how.bias and after > before - WORTH_A_LOOK:
        _restore(model, layers, [(i, s, b) for (i, s, _), (_, _, b) in zip(tuned, plain, strict=True)])
        unbiased = deviation.of(model)
        if unbiased < after:
            after, how = unbiased, Tuning(how.rounding, bias=False, refit=how.refit)
        else:
            _restore(model, layers, tuned)
    if after >= before:
        _restore(model, layers, plain)
        return Refined(f"rounding to nearest at {-before:.1f} dB is best: nothing gained by correcting it")
    said = f"{_named(how)}: outputs from {-before:.1f} to {-after:.1f} dB on held-out samples"
    return Refined(said, tuple(done))


# measured (constants): dB; when all gains less, the bias correction is taken out by way of trial
WORTH_A_LOOK = 1.0


def stored_layers(original: ir.Model, model: ir.Model, items: Iterable[Item]) -> list[StoredLayer]:
    """The layers whose integers may be changed, in topological order."""
    here, stored = nodes_by_id(model.graph), {i.node: i for i in items if isinstance(i, WeightItem)}
    layers = []
    for node in original.graph.nodes:
        name = node.output.name if node.outputs else ""
        if name not in stored or name not in here:
            continue
        how = stored[name]
        layer = StoredLayer.of(node, here[name], how.limit, how.bias, how.sums)
        if not isinstance(layer, str):
            layers.append(layer)
    return layers


def _parameters(layers: Sequence[StoredLayer]) -> list[Parameters]:
    return [(layer.integers, layer.scale, layer.bias) for layer in layers]


def _restore(model: ir.Model, layers: Sequence[StoredLayer], parameters: Sequence[Parameters]) -> None:
    for layer, (integers, scale, bias) in zip(layers, parameters, strict=True):
        layer.store(model.graph, integers)
        layer.rescale(model.graph, scale)
        if layer.bias is not None and layer.can_be_corrected:
            layer.correct(model.graph, layer.bias * 0.0 if bias is None else bias)


def _named(how: Tuning) -> str:
    done = {"rounding": how.rounding, "bias correction": how.bias, "refit": how.refit}
    return " and ".join(name for name, is_done in done.items() if is_done)
