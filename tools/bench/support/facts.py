"""What is in a model file: nodes that compute, constants, foreign operators, bytes with external data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

STANDARD_DOMAINS = ("", "ai.onnx")
OVERRIDABLE_SINCE = 4  # IR version from which an initializer that is also an input is only its default


@dataclass(frozen=True)
class Facts:
    """Counts over the main graph and every subgraph; ``bytes`` includes external data files."""

    operators: dict[str, int]
    constants: int
    bytes: int
    inputs: frozenset[str] = frozenset()
    defaults: frozenset[str] = frozenset()  # inputs that an initializer fills when the caller does not

    @property
    def compute(self) -> int:
        """Number of nodes that are not Constant."""
        return sum(self.operators.values())

    @property
    def standard(self) -> bool:
        """Whether every operator belongs to standard ONNX; others are written with their domain in front."""
        return not any("::" in operator for operator in self.operators)


def facts(path: Path) -> Facts:
    """Count what ``path`` holds, without reading external data."""
    model = onnx.load(path, load_external_data=False)
    operators = Counter(_operator(node) for graph in graphs(model.graph) for node in graph.node)
    constants = operators.pop("Constant", 0)
    size = path.stat().st_size + _external_bytes(path, model)
    inputs = frozenset(value.name for value in model.graph.input)
    filled = inputs & {tensor.name for tensor in model.graph.initializer}
    overridable = filled if model.ir_version >= OVERRIDABLE_SINCE else frozenset()
    return Facts(dict(operators.most_common()), constants, size, inputs, overridable)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Walk a graph and the bodies of its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from graphs(body)


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}::{node.op_type}"


def _external_bytes(path: Path, model: onnx.ModelProto) -> int:
    """Size of the files next to ``path`` that its initializers point to."""
    locations = {
        entry.value
        for graph in graphs(model.graph)
        for tensor in graph.initializer
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sum((path.parent / location).stat().st_size for location in locations)
