"""Takes out the Relu and Clip nodes whose work storing does already, for backends whose fusions they break.

Storing rounds and clips to the integers' range.  Where what the node cuts off would land on the lowest or the
highest integer anyway, the graph computes the same bits without it.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Graph, Node
from graphopt.ir.analysis.operators import clip_bounds


def drop_absorbed(graph: Graph) -> list[str]:
    """Take the nodes out; returns the names of the tensors that they made."""
    dropped = []
    for node in [n for n in graph.nodes if n.is_standard and n.op in ("Relu", "Clip")]:
        limits = (0.0, np.inf) if node.op == "Relu" else clip_bounds(node)
        if limits is None or graph.is_output(node.output) or not node.output.consumers:
            continue
        if all(_clips_as(reader, node, limits) for reader in node.output.consumers):
            dropped.append(str(node.output.name))
            graph.replace_uses(node.output, node.inputs[0])
            graph.remove(node)
    return dropped


def _clips_as(reader: Node, node: Node, limits: tuple[float, float]) -> bool:
    """Whether a QuantizeLinear sends both limits to the ends of its range."""
    if reader.op != "QuantizeLinear" or not reader.is_standard or reader.inputs[0] is not node.output:
        return False
    scale, zero_point = reader.inputs[1].constant, reader.input(2)
    zero = None if zero_point is None else zero_point.constant
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return False
    ends = np.iinfo(zero.dtype)
    low, high = (float(np.rint(limit / float(scale.item()))) + int(zero.item()) for limit in limits)
    return low <= ends.min and high >= ends.max
