"""What zeros buy: how small weights become when they are compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

LEVEL = 6  # shown: what archives and updates over the air usually use


def compressed_bytes(weights: Iterable[np.ndarray]) -> int:
    """Bytes of these arrays after DEFLATE, as in .zip and .gz files."""
    packer = zlib.compressobj(LEVEL)
    total = 0
    for values in weights:
        total += len(packer.compress(np.ascontiguousarray(values).tobytes()))
    return total + len(packer.flush())
