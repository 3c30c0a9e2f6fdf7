"""What cannot be in float16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir import Model, Node

if TYPE_CHECKING:
    from graphopt.ir.facts import Facts

LARGEST = 65504.0  # fixed: largest float16
SMALLEST = 2.0**-24  # fixed: half of it rounds to zero
LARGEST_OPSET_9_RESIZE = 10  # fixed: opset up to which it has the form of opset 9
# Sums and powers that overflow, positions that need more than 11 bits, and kernels that take float32 alone.
KEPT = (
    "BatchNormalization",
    "CumSum",
    "Exp",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "LogSoftmax",
    "LpNormalization",
    "NonMaxSuppression",
    "Pow",
    "Range",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "Resize",
    "RoiAlign",
    "Softmax",
    "Upsample",
)
# Float inputs that the operator's definition keeps at float32, by index; None: all of them.
FIXED_INPUTS: dict[str, tuple[int, ...]] = {"Resize": (2,), "Upsample": (1,)}
UNKNOWN_TYPES = ("If", "Loop", "Scan", "SequenceMap")
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def model_refusal(model: Model) -> str | None:
    """Why a whole model is left alone, or None."""
    for node in model.graph.nodes:
        if node.op in UNKNOWN_TYPES and node.is_standard:
            return f"it has a {node.op}, whose body reads tensors of the graph around it"
        if node.op in QUANTIZED and node.is_standard:
            return "it is quantized, and its scales belong to float32"
    return None


def floats_of(node: Node, facts: Facts) -> bool:
    """Whether a node reads or makes float32 tensors."""
    return any(t.name and facts.dtype(t) == np.float32 for t in (*node.inputs, *node.outputs))


def constant_refusal(node: Node) -> str | None:
    """Why the constants of a node do not fit float16, or None."""
    for tensor in node.inputs:
        value = tensor.constant
        if value is None or value.dtype != np.float32 or value.size == 0:
            continue
        if not np.isfinite(value).all():
            return f"its constant {tensor.name} contains NaN or infinity"
        if np.abs(value).max() > LARGEST:
            return f"its constant {tensor.name} reaches {np.abs(value).max():.3g}, more than float16 holds"
    return None
