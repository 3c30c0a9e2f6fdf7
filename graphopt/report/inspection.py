"""What is in a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.report.opened import Opened
from graphopt.report.record import plain

if TYPE_CHECKING:
    from graphopt.ir import Model, Port
    from graphopt.report.record import Measures


@dataclass(frozen=True)
class Inspection:
    """What is in a model.

    ``ranges`` are (smallest, largest) of each input over the samples after preprocessing; ``layers`` one
    mapping a node with its name, op, output shape, MACs and parameters.
    """

    path: str
    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ops: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    measures: Measures
    layers: tuple[Mapping[str, Any], ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: int = 0
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The inspection as plain values."""
        ports = {side: [_port(p) for p in getattr(self, side)] for side in ("inputs", "outputs")}
        values = {name: value for name, value in vars(self).items() if name not in ports}
        document: dict[str, Any] = plain({**values, **ports})
        return document


def inspect(
    model: str | Path,
    *,
    layers: bool = False,
    latency: bool = False,
    data: str | None = None,
    preprocess: str | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: Mapping[str, Any] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Inspection:
    """Count what is in a model: operators, parameters, MACs, bytes; on request layers, latency, input ranges.

    MACs are None when sizes are not known. Raises ModelError, and DataError for ``data``.
    """
    opened = Opened(model, data, preprocess, shape, session, announce)
    loaded = opened.model
    ranges, count = _ranges(opened.samples) if opened.samples is not None else ({}, 0)
    time = opened.latency() if latency else None
    return Inspection(
        path=str(model),
        ir_version=loaded.ir_version,
        opsets=dict(loaded.opsets),
        inputs=loaded.signature.inputs,
        outputs=loaded.signature.outputs,
        ops=_histogram(loaded),
        shapes=opened.shapes,
        measures=opened.measures(time),
        layers=_layers(loaded, opened.shapes) if layers else (),
        ranges=ranges,
        samples=count,
        preprocess=opened.recipe,
        warnings=tuple(opened.warnings),
    )


def _histogram(model: Model) -> dict[str, int]:
    """How many nodes of each operator, subgraphs included, most frequent first."""
    names = (
        node.op if node.is_standard else f"{node.domain}:{node.op}"
        for graph in model.graphs()
        for node in graph.nodes
    )
    return dict(Counter(names).most_common())


def _layers(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Mapping[str, Any], ...]:
    from graphopt import cost

    return tuple(vars(layer) for layer in cost.layers(model, shapes))


def _ranges(samples: Iterable[Any]) -> tuple[dict[str, tuple[float, float]], int]:
    """Smallest and largest value of each input, and the number of samples."""
    ranges: dict[str, tuple[float, float]] = {}
    count = 0
    for sample in samples:
        count += 1
        for name, array in sample.feeds.items():
            if array.size and np.issubdtype(array.dtype, np.number):
                low, high = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = (min(low, float(array.min())), max(high, float(array.max())))
    return ranges, count


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": None if port.dtype is None else str(port.dtype),
        "shape": None if port.shape is None else list(port.shape),
    }
