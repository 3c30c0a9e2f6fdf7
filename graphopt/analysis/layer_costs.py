"""What each layer takes on this machine, what bounds it, and whether compressing it is worth the while."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from graphopt import cost
from graphopt.cost import Layer, Peaks
from graphopt.cost.latency.surface import ALIGNMENT
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline.results.kernel_matching import Timed

FACTORED = 64  # channels on both sides below which two thinner layers are no quicker than one
WORTH = 0.02  # share of the time below which a layer is not worth a thought


@dataclass(frozen=True)
class LayerCost:
    """One node with its costs; ``tensor`` is the name of its first output.

    ``bytes`` are read and written, weights included, in float32.  ``latency_ms`` and ``share`` of the whole
    time are None where the runtime has no kernel for the node: then it is folded away, or done within
    another one, which lists it in ``absorbed``.  ``bound`` is ``compute`` or ``memory``, ``efficiency`` the
    share 0..1 of this machine's best rate of multiply-accumulates that the layer reaches; ``hint`` says what
    would make it quicker.
    """

    name: str
    op: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    parameters: int
    macs: int | None
    tensor: str = ""
    bytes: int | None = None
    latency_ms: float | None = None
    share: float | None = None
    bound: str = ""
    efficiency: float | None = None
    absorbed: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Timing:
    """The time of a model by its kernels, in milliseconds, and what this machine can do at best.

    ``other`` is the time of kernels that stand for no node, by operator: conversions of type and layout.
    """

    kernels_ms: float
    other: Mapping[str, float]
    macs_per_second: float
    bytes_per_second: float
    machine: Mapping[str, Any] = field(default_factory=dict)


def layer_costs(
    layers: Sequence[Layer],
    timed: Timed | None = None,
    best: Peaks | None = None,
    *,
    tensors: Sequence[str] = (),
    inner: int = 0,
) -> tuple[LayerCost, ...]:
    """Put counts and times together; the last ``inner`` layers lie in subgraphs, within others' time.

    ``tensors`` are the first outputs of the layers.
    """
    plain = [_counted(layer, name) for layer, name in zip_longest(layers, tensors, fillvalue="")]
    if timed is None or best is None:
        return tuple(plain)
    outer = sum(ms for index, ms in timed.milliseconds.items() if index < len(layers) - inner)
    whole = (outer + sum(timed.other.values())) or 1.0
    for index, ms in timed.milliseconds.items():
        absorbed = tuple(layers[i].name for i in timed.absorbed.get(index, ()))
        plain[index] = _timed(dataclasses.replace(plain[index], absorbed=absorbed), ms, whole, best)
    return tuple(plain)


def worth_compressing(layers: Sequence[LayerCost]) -> list[LayerCost]:
    """The layers of which something is to be gained, the slowest first."""
    return sorted((layer for layer in layers if layer.hint), key=lambda layer: -(layer.share or 0))


def _counted(layer: Any, tensor: str) -> LayerCost:
    return LayerCost(**vars(layer), tensor=tensor, bytes=cost.moved_bytes(layer))


def _timed(layer: LayerCost, ms: float, whole: float, best: Peaks) -> LayerCost:
    bound, efficiency = "", None
    if layer.macs is not None and layer.bytes is not None:
        bound = best.bound(layer.macs, layer.bytes)
    if layer.macs and ms > 0:
        efficiency = min(best.compute_ms(layer.macs) / ms, 1.0)
    timed = dataclasses.replace(layer, latency_ms=ms, share=ms / whole, bound=bound, efficiency=efficiency)
    return dataclasses.replace(timed, hint=_hint(timed))


def _hint(layer: LayerCost) -> str:
    """What would make a layer quicker; empty where nothing would be noticed."""
    if (layer.share or 0.0) < WORTH:
        return ""
    if layer.op not in LAYERS:
        return "quicker with fewer channels before it" if layer.bound == "memory" else ""
    if _is_unaligned(layer):
        return f"odd width: multiples of {ALIGNMENT} channels run on faster kernels"
    if layer.bound == "compute":
        return f"arithmetic: prune{', lowrank' if _is_wide(layer) else ''} or quant pay"
    return "memory: prune or quant pay, lowrank does not"


def _is_wide(layer: LayerCost) -> bool:
    """Whether a factorisation could save anything: both sides of the weight are wide, and none is a group."""
    weight = layer.inputs[1] if len(layer.inputs) > 1 else None
    return weight is not None and min(weight[:2]) >= FACTORED


def _is_unaligned(layer: LayerCost) -> bool:
    """Whether a convolution misses the blocked kernels by a few channels; images of three channels do not."""
    if layer.op != "Conv" or not layer.inputs or not layer.outputs:
        return False
    widths = [shape[1] for shape in (layer.inputs[0], layer.outputs[0]) if shape and len(shape) > 2]
    return any(width > ALIGNMENT and width % ALIGNMENT for width in widths)
