"""What this machine can do at best, and what therefore bounds a layer: arithmetic or memory.

The roofline model: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance
model", Communications of the ACM 52 (2009).  Both roofs are measured through onnxruntime: the arithmetic
one on large convolutions, the memory one on a pooling of single elements, which only copies.  What it copies
is as large as activations are and fits a cache, since that is where a network finds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.cost.latency.layer_shape import LayerShape

if TYPE_CHECKING:
    from graphopt.cost.latency.table import LatencyTable
    from graphopt.cost.static.layers import Layer
    from graphopt.cost.static.macs import Dims

_PADDED = (("pads", (1, 1, 1, 1)),)
_COMPUTE = (
    LayerShape("Conv", (1, 256, 28, 28), (256, 256, 3, 3), _PADDED),
    LayerShape("Conv", (1, 128, 56, 56), (128, 128, 3, 3), _PADDED),
    LayerShape("Conv", (1, 512, 28, 28), (512, 512, 1, 1)),
)
_COPY = LayerShape("MaxPool", (1, 64, 56, 56), (), (("kernel_shape", (1, 1)),))
_ITEM = 4  # fixed: bytes of a float32, in which layers are counted


@dataclass(frozen=True)
class Peaks:
    """The most multiply-accumulates and bytes a second that onnxruntime reaches here, in float32."""

    macs_per_second: float
    bytes_per_second: float

    def bound(self, macs: int, moved: int) -> str:
        """``compute`` or ``memory``: what takes a layer longer at best."""
        return "compute" if self.compute_ms(macs) >= 1e3 * moved / self.bytes_per_second else "memory"

    def compute_ms(self, macs: int) -> float:
        """Milliseconds the arithmetic takes at best."""
        return 1e3 * macs / self.macs_per_second

    def raised(self, layers: Iterable[tuple[int, int, float]]) -> Peaks:
        """The roofs with no layer above them: what a layer reaches, this machine can do.

        ``layers`` are multiply-accumulates, bytes moved and milliseconds of each.  A roof that was measured
        in a moment of load is too low; a layer whose data fit a nearer cache reads them faster than the copy
        that the memory roof is measured with.
        """
        layers = [layer for layer in layers if all(number > 0 for number in layer)]
        rate = max((1e3 * macs / ms for macs, _, ms in layers), default=0.0)
        compute = max(self.macs_per_second, rate)
        limited = [
            (moved, ms) for macs, moved, ms in layers if macs / moved < compute / self.bytes_per_second
        ]
        speed = max((1e3 * moved / ms for moved, ms in limited), default=0.0)
        return Peaks(compute, max(self.bytes_per_second, speed))


def peaks(table: LatencyTable) -> Peaks:
    """Measure the two roofs, or read them back from the table of layer times."""
    *compute, copy = table.milliseconds([*_COMPUTE, _COPY]).tolist()
    rates = (_macs(layer) / ms for layer, ms in zip(_COMPUTE, compute, strict=True))
    return Peaks(1e3 * max(rates), 1e3 * 2 * _ITEM * math.prod(_COPY.input) / copy)


def moved_bytes(layer: Layer) -> int | None:
    """Bytes that a layer reads and writes, weights included, in float32; None where a shape is not known."""
    shapes: Sequence[Dims | None] = (*layer.inputs, *layer.outputs)
    sizes = [math.prod(shape) for shape in shapes if shape is not None]
    return _ITEM * sum(sizes) if len(sizes) == len(shapes) else None


def _macs(layer: LayerShape) -> int:
    """Multiply-accumulates of a convolution that keeps its sides."""
    return math.prod(layer.input[2:]) * math.prod(layer.weight)
