"""Students for the benchmark of distillation."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Model, Node

LARGEST = 7  # of a weight in 4 bits


def four_bit_weights(model: Model) -> None:
    """Round the int8 weights of a quantized model to 4 bits, with a scale for each channel; in place.

    Biases count in steps of the weights' scales, so they are stored anew.
    """
    for layer in list(model.graph.find("Conv", "Gemm", "MatMul")):
        weight = layer.inputs[1].producer
        if weight is None or weight.op != "DequantizeLinear" or weight.inputs[0].constant is None:
            continue
        ratio = _round(model, weight)
        bias = layer.inputs[2].producer if layer.input(2) is not None else None
        if bias is not None and bias.op == "DequantizeLinear":
            _store_bias(model, bias, ratio)


def _round(model: Model, node: Node) -> np.ndarray:
    """Round one weight; returns its new scales over the old ones."""
    stored, scale = node.inputs[0].constant, node.inputs[1].constant
    assert stored is not None and scale is not None
    axis = int(node.attr("axis", 1))
    wide = scale.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]) if scale.ndim else scale
    real = stored.astype(np.float64) * wide
    others = tuple(i for i in range(stored.ndim) if i != axis) if scale.ndim else None
    largest = np.maximum(np.abs(real).max(axis=others, keepdims=True), 1e-12)
    steps = np.clip(np.rint(real / (largest / LARGEST)), -LARGEST, LARGEST)
    new = (largest / LARGEST).reshape(scale.shape).astype(np.float32)
    ratio: np.ndarray = new / scale
    model.graph.set_constant(node, 0, steps.astype(np.int8))
    model.graph.set_constant(node, 1, new)
    return ratio


def _store_bias(model: Model, node: Node, ratio: np.ndarray) -> None:
    stored, scale = node.inputs[0].constant, node.inputs[1].constant
    assert stored is not None and scale is not None
    new = (scale * ratio).astype(np.float32)
    values = np.rint(stored.astype(np.float64) * scale / new)
    model.graph.set_constant(node, 0, values.astype(np.int32))
    model.graph.set_constant(node, 1, new)
