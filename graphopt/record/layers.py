"""One node of a model before and after a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pair = tuple["int | None", "int | None"]  # before, after; None where it does not exist or is not known


@dataclass(frozen=True)
class LayerRecord:
    """One node before and after a run.

    ``shape`` is that of its first output in the original (in the result for an added node); ``reads`` are the
    indices, in the list of layers, of the layers before it; ``channels`` are output channels, ``snr_db`` the
    signal-to-noise ratio of its output.
    """

    name: str
    op: str
    shape: tuple[int, ...] | None
    reads: tuple[int, ...]
    state: Literal["kept", "removed", "added"]
    channels: Pair
    macs: Pair
    parameters: Pair
    snr_db: float | None = None
    latency_ms: tuple[float | None, float | None] | None = None
