"""One node of a model before and after a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Pair = tuple["int | None", "int | None"]  # before, after; None where it does not exist or is not known


@dataclass(frozen=True)
class WeightFacts:
    """A weight of a node as it is stored: its range, mean, standard deviation and share of zeros."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    std: float | None = None
    zeros: float | None = None  # share


@dataclass(frozen=True)
class NodeFacts:
    """What a node is connected to and made of: names of tensors, attributes as text, weights."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[WeightFacts, ...] = ()


@dataclass(frozen=True)
class LayerRecord:
    """One node before and after a run.

    ``shape`` is that of its first output in the original (in the result for an added node); ``reads`` are the
    indices, in the list of layers, of the layers before it; ``channels`` are output channels, ``snr_db`` the
    signal-to-noise ratio of its output.  ``reads_after`` are the layers it reads in the result, seen through
    the pairs that quantization adds; None where it is not in the result.  ``facts`` are what the node is made
    of, before and after.
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
    reads_after: tuple[int, ...] | None = None
    facts: tuple[NodeFacts | None, NodeFacts | None] = (None, None)
