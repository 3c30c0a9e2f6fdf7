"""All the ways to split a layer, by name.

- ``canonical``: CP: 1 x 1 to rank channels, a depthwise k x k, 1 x 1 to all outputs (V. Lebedev et al.,
  2015).
- ``channel``: Splits along the channels: the kernel stays whole, in the first layer or in the second.
- ``kinds``: What every way to split a layer can do, and the list of them.
- ``spatial``: Splits of the kernel itself: one of its axes in the first layer, the others in the second.
- ``tucker``: Tucker-2: 1 x 1 to fewer channels, k x k between few channels, 1 x 1 to all outputs (Y. Kim et
  al., 2016).
- ``twofold``: What the splits in two have in common: the first layer sees some axes of the kernel, the second
  the rest.
"""

from __future__ import annotations

from .canonical import Canonical
from .channel import IN, OUT, SVD
from .kinds import Kind
from .spatial import HORIZONTAL, VERTICAL
from .tucker import Tucker

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (SVD, OUT, IN, VERTICAL, HORIZONTAL, Tucker(), Canonical())
}
USUAL = tuple(name for name in KINDS if name != "cp")  # which takes long to solve and rarely pays
