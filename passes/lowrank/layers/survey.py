"""Which layers of a model can be split, and what the samples say about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.cost.static.shapes import known_shapes
from graphopt.errors import DataError, ModelError
from graphopt.ir.transform.linear import LAYERS

from .layer import Layer, label, read_layer
from .study import Shelf, Studied, blind, study

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Survey:
    """The weighted layers of a model by the tensor they make: those to split, and why others cannot be.

    ``names`` are what a user knows them by.  ``samples`` is None where there is nothing to go by.
    """

    model: ir.Model
    layers: dict[str, Layer]
    refused: dict[str, str]
    names: dict[str, str]
    samples: Samples | None

    def without(self, refuse: Callable[[Layer], str]) -> Survey:
        """Return the survey without the layers that ``refuse`` has a reason for."""
        refused = {name: why for name, layer in self.layers.items() if (why := refuse(layer))}
        layers = {name: layer for name, layer in self.layers.items() if name not in refused}
        return Survey(self.model, layers, {**self.refused, **refused}, self.names, self.samples)

    def studied(
        self, ctx: Context, samples: Samples | None = None
    ) -> Callable[[Sequence[Layer]], Iterator[Studied]]:
        """Return what studies layers on ``samples``, all of them by default, or blindly without any."""
        used = self.samples if samples is None else samples
        if used is None:
            return blind
        return lambda layers: study(self.model, layers, used, ctx)

    def shelf(self, ctx: Context) -> Shelf:
        """Return a place that keeps what was studied."""
        return Shelf(self.studied(ctx))


def survey(model: ir.Model, ctx: Context) -> Survey:
    """Look at every Conv, ConvTranspose, Gemm and MatMul of the main graph."""
    model.sort()
    samples = ctx.calibration if not ctx.calibration_is_synthetic and _runs(model, ctx) else None
    shapes = known_shapes(model, ctx.shapes, ctx.settings.session.custom_ops)
    declared = ir.infer_shapes(model)
    layers: dict[str, Layer] = {}
    refused: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in model.graph.find(*LAYERS):
        layer = read_layer(node, shapes, declared)
        name = node.output.name
        names[name] = label(node)
        if isinstance(layer, str):
            refused[name] = layer
        else:
            layers[name] = layer
    return Survey(model, layers, refused, names, samples)


def _runs(model: ir.Model, ctx: Context) -> bool:
    try:
        ctx.session(model).run(next(iter(ctx.calibration)).feeds)
    except (ModelError, DataError) as error:
        ctx.warn(f"lowrank cannot run the model, so the calibration samples are of no use to it: {error}")
        return False
    return True
