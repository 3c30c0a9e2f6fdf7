"""Run one node alone."""

from __future__ import annotations

import numpy as np

from graphopt import ir
from graphopt.ir import Constant, Node, Variable
from graphopt.runtime import Session


def run_alone(node: Node, values: np.ndarray, replaced: dict[int, np.ndarray] | None = None) -> np.ndarray:
    """What a node makes of ``values`` as its first input, the others being constants or ``replaced``."""
    model = ir.blank(int(node.graph.opset))
    graph = model.graph
    source = Variable(graph.names.unique("x"), values.dtype, values.shape)
    graph.inputs.append(source)
    inputs: list[ir.Tensor] = [source]
    for index, tensor in enumerate(node.inputs[1:], 1):
        value = (replaced or {}).get(index, tensor.constant if tensor.name else None)
        inputs.append(Variable("") if value is None else _constant(graph, np.asarray(value)))
    made = graph.add_node(node.op, inputs, dict(node.attrs.items()))
    result: np.ndarray = Session(model, outputs=[made.output.name], optimization="disabled").run(
        {source.name: values}
    )[made.output.name]
    return result


def _constant(graph: ir.Graph, value: np.ndarray) -> Constant:
    return graph.add_constant("value", value)
