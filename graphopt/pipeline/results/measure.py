"""Measures a model file: what is in it, and how fast it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt import runtime
from graphopt.record.record import Measures
from graphopt.runtime import Session

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

ALONE = 1.0  # time: seconds for timing a model that nothing is compared with


def contents(
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    size: int,
    warn: Callable[[str], None] = lambda text: None,
) -> Measures:
    """Count what is in a model; ``size`` is that of its files in bytes."""
    from graphopt import cost

    costs = cost.measure(model, shapes)
    if costs.unknown:
        warn(f"the MACs of these operators are not known: {', '.join(costs.unknown)}")
    return Measures(costs.nodes, costs.constants, costs.parameters, costs.macs, size)


def input_bytes(model: Model) -> int:
    """Size in bytes of the files a model was read from, external data included."""
    if model.path is None:
        return len(model.to_bytes())
    protos = (tensor.proto for graph in model.graphs() for tensor in graph.initializers)
    entries = (entry for proto in protos if proto is not None for entry in proto.external_data)
    outside = {model.path.parent / entry.value for entry in entries if entry.key == "location"}
    return files_bytes([model.path, *outside])


def files_bytes(files: Iterable[Path]) -> int:
    """Size in bytes of some files together."""
    return sum(file.stat().st_size for file in files)


def first_feeds(samples: Samples) -> dict[str, np.ndarray]:
    """The inputs of the first sample, to time a model with."""
    return dict(next(iter(samples)).feeds)


def latency(session: Session, samples: Samples) -> float:
    """Milliseconds a run of one model takes, measured on the first sample."""
    return runtime.latency(session, first_feeds(samples), seconds=ALONE).median_ms


def paired_latency(before: Session, after: Session, samples: Samples) -> runtime.PairedLatency:
    """What a run of both models takes, measured in turn on the first sample."""
    return runtime.paired_latency(before, after, first_feeds(samples))
