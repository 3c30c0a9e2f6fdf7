"""Put the layers that a layer becomes in its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt import ir

from ..layers.layer import Layer
from ..layers.stage import Stage


def replace_layer(
    graph: ir.Graph,
    layer: Layer,
    stages: Sequence[Stage],
    weights: Sequence[np.ndarray],
    bias: np.ndarray | None,
) -> None:
    """Replace ``layer`` by ``stages`` with these weights; only the last has the bias.

    The tensor that the layer made keeps its name.  Numbers are stored in the type of the layer's weights.
    """
    node, dtype = layer.node, layer.dtype
    source, outputs = node.inputs[0], list(node.outputs)
    names = [f"{layer.name}.{number}" for number in range(1, len(stages) + 1)]
    parameters = [
        [graph.add_constant(f"{name}.weight", values.astype(dtype))]
        for name, values in zip(names, weights, strict=True)
    ]
    if bias is not None:
        parameters[-1].append(graph.add_constant(f"{names[-1]}.bias", bias.astype(dtype)))
    graph.remove(node)
    for name, stage, constants in zip(names, stages, parameters, strict=True):
        wanted = outputs if name == names[-1] else 1
        made = graph.add_node(
            stage.op, [source, *constants], stage.attrs, outputs=wanted, name=name, like=node
        )
        source = made.output
