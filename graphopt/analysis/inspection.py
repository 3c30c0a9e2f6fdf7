"""What is in a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.analysis.attention import AttentionBlock, attention_blocks
from graphopt.analysis.layer_costs import LayerCost, Timing, layer_costs
from graphopt.analysis.loaded_model import LoadedModel
from graphopt.cost.static.layers import computes
from graphopt.pipeline.results.layers import computing_nodes, first_output, reads_of
from graphopt.runtime import machine
from graphopt.util.files import plain, write_json, write_text
from graphopt.util.pages import rendered
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.cost import Layer
    from graphopt.ir import Model, Port
    from graphopt.pipeline.results.kernel_matching import Timed
    from graphopt.record.record import Measures
    from graphopt.runtime import SessionOptions


PATIENCE = 6.0  # time: seconds at most for finding out what this machine can do at best


@dataclass(frozen=True)
class Inspection:
    """What is in a model.

    ``ranges`` are (smallest, largest) of each input over the samples after preprocessing; ``layers`` one
    entry a node with its shapes, parameters and MACs, and where it was asked for its time; ``timing`` what
    the times of layers add up to.  ``reads`` are, for each of ``layers``, the indices of the layers before it
    that it reads; empty where not all layers are listed.
    """

    path: str
    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ops: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    measures: Measures
    layers: tuple[LayerCost, ...] = ()
    reads: tuple[tuple[int, ...], ...] = ()
    timing: Timing | None = None
    attention: tuple[AttentionBlock, ...] = ()
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

    def write(self, path: str | Path, *, command: Sequence[str] = (), model_sha256: str = "") -> None:
        """Write the inspection as a page when the name ends in .html, else as JSON.

        ``command`` and ``model_sha256`` are what the page says about how to repeat it.  The page draws the
        graph when it was inspected with ``layers``.  Raises OutputError when the file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".html":
            write_json(target, self.to_json())
            return
        write_text(target, rendered("inspection", self, command, model_sha256))


def inspect(
    model: Any,
    *,
    layers: bool = False,
    latency: bool = False,
    data: Any = None,
    preprocess: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: SessionOptions | None = None,
    cache: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> Inspection:
    """Count what is in a model: operators, parameters, MACs, bytes; on request layers, latency, input ranges.

    With ``latency`` the layers are timed one by one as well: those that take time are listed even without
    ``layers``.  ``cache`` is the folder that keeps what this machine can do at best; the user's cache folder
    when None, nothing is kept for ``"off"``.
    ``model`` and ``data`` are given as in ``optimize``.  MACs are None when sizes are not known. Raises
    ModelError, and DataError for ``data``.
    """
    opened = LoadedModel(model, data, preprocess, shape, session, announce, transform)
    loaded = opened.model
    ranges, count = _ranges(opened.samples) if opened.samples is not None else ({}, 0)
    time = opened.latency() if latency else None
    listed: tuple[LayerCost, ...] = ()
    timing = None
    if latency:
        listed, timing = _timed_layers(opened, progress)
    elif layers:
        listed = layer_costs(_layers(loaded, opened.shapes), tensors=_tensors(loaded))
    return Inspection(
        path=opened.name,
        ir_version=loaded.ir_version,
        opsets=dict(loaded.opsets),
        inputs=loaded.signature.inputs,
        outputs=loaded.signature.outputs,
        ops=_histogram(loaded),
        shapes=opened.shapes,
        measures=opened.measures(time),
        layers=listed if layers else tuple(layer for layer in listed if layer.latency_ms),
        reads=reads_of(computing_nodes(loaded)) if layers else (),
        timing=timing,
        attention=attention_blocks(loaded, opened.shapes),
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


def _layers(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layer, ...]:
    from graphopt import cost

    return cost.layers(model, shapes)


def _timed_layers(opened: LoadedModel, progress: Progress) -> tuple[tuple[LayerCost, ...], Timing]:
    """The layers with their times, and what those times add up to."""
    from graphopt import cost
    from graphopt.pipeline.results.kernel_matching import time_nodes

    model = opened.model
    threads = opened.session.threads
    timed = time_nodes(model, opened.first_feeds(), opened.session)
    # measured now and not read back: a roof from another hour says little about layers timed in this one
    best = cost.peaks(cost.LatencyTable.open(None, threads, seconds=PATIENCE, progress=progress))
    counted = _layers(model, opened.shapes)
    best = best.raised(_rated(counted, timed))
    inner = len(counted) - sum(map(computes, model.graph.nodes))
    rates = best.macs_per_second, best.bytes_per_second
    host = dict(machine(threads))
    listed = layer_costs(counted, timed, best, tensors=_tensors(model), inner=inner)
    return listed, Timing(timed.total, timed.other, *rates, host)


def _rated(layers: Sequence[Layer], timed: Timed) -> list[tuple[int, int, float]]:
    """Multiply-accumulates, bytes and milliseconds of the layers that have all three."""
    from graphopt import cost

    timed_layers = ((layers[i].macs, cost.moved_bytes(layers[i]), ms) for i, ms in timed.milliseconds.items())
    return [(macs, moved, ms) for macs, moved, ms in timed_layers if macs and moved and ms]


def _tensors(model: Model) -> list[str]:
    """The first output of each layer."""
    return [first_output(node) for node in computing_nodes(model)]


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
