"""Importance of what a channel carries on samples: its energy, and how much it varies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import ChannelMoments, StatisticSpec

from ...coupling.coupling import Coupling
from ...coupling.parameter_axes import ParameterAxis
from .grouping import Member

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context


def energy(model: ir.Model, coupling: Coupling, samples: Samples, ctx: Context) -> Iterator[Member]:
    """The mean square of what each layer reads of a channel."""
    for on, moments in _read(model, coupling, samples, ctx):
        yield on, moments.sum_of_squares / np.maximum(moments.count, 1)


def variance(model: ir.Model, coupling: Coupling, samples: Samples, ctx: Context) -> Iterator[Member]:
    """The variance of what each layer reads of a channel: a bias can stand in for the rest."""
    for on, moments in _read(model, coupling, samples, ctx):
        yield on, np.asarray(moments.variance, np.float64)


def _read(
    model: ir.Model, coupling: Coupling, samples: Samples, ctx: Context
) -> Iterator[tuple[np.ndarray, ChannelMoments]]:
    slots = [slot for slot in coupling.slots if slot.role == "in" and slot.index == 1]
    requests: dict[str, list[StatisticSpec]] = defaultdict(list)
    places = []
    for slot in slots:
        name = slot.node.inputs[0].name
        places.append((slot, name, len(requests[name])))
        requests[name].append(_moments(slot))
    statistics = ctx.collect(model, requests, samples, allow_nonfinite=True)
    for slot, name, place in places:
        yield coupling.on(slot.ids), statistics[name][place]


def _moments(slot: ParameterAxis) -> StatisticSpec:
    return StatisticSpec.of("channel-moments", axis=-1 if slot.node.op == "MatMul" else 1)
