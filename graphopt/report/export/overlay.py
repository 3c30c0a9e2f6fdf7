"""Values of nodes in files that graph viewers lay over a model.

Model Explorer (Google AI Edge) reads "node data" of a graph, ``{"results": {key: {"value": number}},
"gradient": [...]}``, where a key is the name of any output tensor of a node.  Netron shows the metadata of
nodes, which a copy of the model can carry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import UsageError
from graphopt.pipeline.results.layers import computing_nodes
from graphopt.util.files import write_json
from graphopt.util.text import meant_or_known

if TYPE_CHECKING:
    from graphopt.analysis.divergence import Divergence
    from graphopt.analysis.inspection import Inspection
    from graphopt.analysis.layer_costs import LayerCost
    from graphopt.ir import Model
    from graphopt.record.sensitivity import Sensitivity

VALUES = ("latency_ms", "share", "macs", "parameters", "bytes", "efficiency")
PREFIX = "graphopt."  # of the keys in node metadata
_GOOD, _BAD = "#ffffff", "#e4572e"


def node_data(values: Mapping[str, float | None], *, high_is_good: bool = False) -> dict[str, Any]:
    """Node data of Model Explorer from values by tensor name; the worse, the redder."""
    finite = {key: value for key, value in values.items() if value is not None and math.isfinite(value)}
    low, high = (_BAD, _GOOD) if high_is_good else (_GOOD, _BAD)
    gradient = [{"stop": 0, "bgColor": low}, {"stop": 1, "bgColor": high}]
    return {"results": {key: {"value": value} for key, value in finite.items()}, "gradient": gradient}


def check_value(value: str) -> None:
    """Raise UsageError for a value that layers do not have."""
    if value not in VALUES:
        raise UsageError(f"layers have no {value!r}{meant_or_known(value, VALUES)}")


def layer_overlay(inspection: Inspection, value: str = "") -> dict[str, Any]:
    """One value of all listed layers: by default their time, and MACs where they were not timed.

    Raises UsageError for a value that layers do not have.
    """
    value = value or ("latency_ms" if inspection.timing is not None else "macs")
    check_value(value)
    entries = {layer.tensor: getattr(layer, value) for layer in inspection.layers if layer.tensor}
    return node_data(entries, high_is_good=value == "efficiency")


def divergence_overlay(divergence: Divergence) -> dict[str, Any]:
    """Signal to noise of the tensors that two models share, under the names of both."""
    values = {one.other: one.snr_db for one in divergence.tensors}
    values |= {one.tensor: one.snr_db for one in divergence.tensors}
    return node_data(values, high_is_good=True)


def sensitivity_overlay(study: Sensitivity, model: Model) -> dict[str, Any]:
    """How each item degrades the model at the highest level it could be carried out at, on its tensor."""
    outputs = {node.name: node.outputs[0].name for node in model.graph.nodes if node.name and node.outputs}
    values: dict[str, float | None] = {}
    for item, points in study.curves().items():
        numbers = [value for point in points if (value := study.value(point, study.measure)) is not None]
        values[outputs.get(item, item)] = numbers[-1] if numbers else None
    return node_data(values, high_is_good=study.measure == "snr_db")


def write_overlay(path: Path, document: Mapping[str, Any]) -> None:
    """Write node data; OutputError when that fails."""
    write_json(path, document)


def annotated(model: Model, layers: Sequence[LayerCost]) -> Model:
    """A copy of a model whose nodes carry their costs as metadata; ``layers`` are all of the model's."""
    from graphopt.ir.transform.annotate import annotate

    copy = model.copy()
    for node, layer in zip(computing_nodes(copy), layers, strict=True):
        annotate(node, {f"{PREFIX}{key}": text for key, text in _texts(layer).items()})
    return copy


def _texts(layer: LayerCost) -> dict[str, str]:
    """What there is to say of a layer, as text."""
    left_out = ("name", "op", "inputs", "outputs", "tensor")
    values = {key: value for key, value in vars(layer).items() if key not in left_out}
    return {key: _text(value) for key, value in values.items() if value not in (None, "", (), 0)}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
