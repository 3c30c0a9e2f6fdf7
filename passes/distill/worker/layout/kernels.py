"""What onnxruntime computes slowly in a training graph, said in operators that it computes fast."""

from __future__ import annotations

from pathlib import Path

import onnx

from .blocked import MICROSOFT, Blocked, block_size
from .packing import Nodes


def use_faster_kernels(*paths: Path) -> None:
    """Rewrite graphs in place; every value stays what it was, up to rounding."""
    size = block_size()
    for path in paths:
        model = onnx.load(str(path))
        if size:
            Blocked(model.graph, size).rewrite()
        _mask_relu_gradients(model.graph)
        onnx.save(model, str(path))


def _mask_relu_gradients(graph: onnx.GraphProto) -> None:
    """The gradient of Relu as a product with a mask: its own kernel goes element by element, and branches."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "ReluGrad" and node.domain == MICROSOFT:
            made = Nodes(node)
            made.masked(node.input[0], node.input[1], node.output[0])
            nodes += made.made
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
