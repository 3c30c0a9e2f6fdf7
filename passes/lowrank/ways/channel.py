"""Splits along the channels: the kernel stays whole, in the first layer or in the second.

``svd``: a matrix becomes two thinner ones.  ``out``: a k x k convolution with fewer outputs, then 1 x 1.
``in``: 1 x 1 to fewer channels, then k x k.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..layers.layer import Layer
from .twofold import Twofold


@dataclass(frozen=True)
class Whole(Twofold):
    """A layer with fewer outputs, then 1 x 1 to all of them; the first layer sees everything."""

    inner: tuple[int, ...] = ()
    single: bool = False  # whether it is for kernels of a single position, or for all larger ones

    def fits(self, layer: Layer) -> bool:
        """Whether the kernel has the right size."""
        return (prod(layer.stage.kernel) == 1) is self.single

    def seen(self, layer: Layer) -> tuple[int, ...]:
        return tuple(range(len(layer.axes)))


@dataclass(frozen=True)
class Narrowing(Twofold):
    """1 x 1 to fewer channels, then the whole kernel."""

    inner: tuple[int, ...] = (0,)

    def fits(self, layer: Layer) -> bool:
        """Whether there is a kernel to leave to the second layer."""
        return prod(layer.stage.kernel) > 1


SVD = Whole("svd", "two thinner layers", single=True)
OUT = Whole("out", "k x k to fewer channels, then 1 x 1")
IN = Narrowing("in", "1 x 1 to fewer channels, then k x k")
