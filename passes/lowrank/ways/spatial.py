"""Splits of the kernel itself: one of its axes in the first layer, the others in the second.

For two axes: k x 1, then 1 x k (M. Jaderberg et al., 2014), or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..layers.layer import Layer
from .twofold import Twofold


@dataclass(frozen=True)
class Spatial(Twofold):
    """One axis of the kernel after the other; ``inner`` has the one that comes first."""

    def fits(self, layer: Layer) -> bool:
        kernel, first = layer.stage.kernel, self.inner[1] - 1
        others = [size for axis, size in enumerate(kernel) if axis != first]
        return len(kernel) > first and kernel[first] > 1 and any(size > 1 for size in others)


VERTICAL = Spatial("vertical", "k x 1, then 1 x k", (0, 1))
HORIZONTAL = Spatial("horizontal", "1 x k, then k x 1", (0, 2))
