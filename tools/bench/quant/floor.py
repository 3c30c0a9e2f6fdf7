"""What 8-bit activations alone cost: a quantized network with float weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

PLAIN = (
    "quant:rounding=nearest:bias_correction=false:equalise=none:absorb=false"
    ":keep_noisy_float=false:measure=false"
)


def float_weights(source: Path, quantized: Path) -> bytes:
    """The quantized network with the weights of the float one in place of its integers.

    Its channels must not have been rescaled, nor its biases corrected for rounded weights: see ``PLAIN``.
    Run it with the graph optimisations off: onnxruntime would store such weights by itself.
    """
    exact = onnx.load(source)
    model = onnx.load(quantized)
    constants = {init.name: init for init in exact.graph.initializer}
    readers = {out: node for node in exact.graph.node for out in node.output}
    weights = {init.name for init in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.output[0] not in readers:
            continue
        reader = made.get(node.input[1])
        original = readers[node.output[0]]
        if reader is None or reader.input[0] not in weights or original.input[1] not in constants:
            continue
        values = numpy_helper.to_array(constants[original.input[1]])
        if original.op_type != node.op_type or values.dtype != np.float32:
            continue  # a rewrite made this layer, and its weights are exact
        name = f"{original.input[1]}_floor"
        if name not in weights:
            model.graph.initializer.append(numpy_helper.from_array(values, name))
            weights.add(name)
        node.input[1] = name
    return bytes(model.SerializeToString())
