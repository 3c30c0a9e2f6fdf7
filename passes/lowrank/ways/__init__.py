"""All the ways to split a layer, by name."""

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
