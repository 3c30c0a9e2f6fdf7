"""What cannot be in float16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir import Model, Node
from graphopt.ir.signatures import signature
from graphopt.targets import Target

if TYPE_CHECKING:
    from .types import ElementTypes

LARGEST = 65504.0  # fixed: largest float16
# Sums and powers that overflow, positions that need more than 11 bits, what reads the bits of a number, and
# kernels that take float32 alone.
KEPT = (
    "BatchNormalization",
    "BitCast",
    "CumSum",
    "Exp",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
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
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def model_refusal(model: Model) -> str | None:
    """Why a whole model is left alone, or None."""
    if any(node.op in QUANTIZED and node.is_standard for node in model.graph.nodes):
        return "it is quantized, and its scales belong to float32"
    return None


def target_refusal(target: Target) -> str | None:
    """Why nothing is cast for a target, or None."""
    return None if target.half else f"{target.runtime} does not run float16, or loses digits of it"


def node_key(node: Node) -> str:
    """What names a node in a plan: the first tensor that it makes."""
    return next((tensor.name for tensor in node.outputs if tensor.name), "")


def type_refusal(node: Node, types: ElementTypes, opset: int) -> str | None:
    """Why the types of a node's tensors keep it in float32, or None."""
    if any(True for _ in node.subgraphs()):
        return f"the bodies of {node.op} stay float32"
    if not node.is_standard:
        return "it is not known whether its operator takes float16"
    for tensor in (*node.inputs, *node.outputs):
        if not types.is_known(tensor):
            return f"the type of {tensor.name} is not known"
        if types.is_container(tensor):
            return f"{tensor.name} is a sequence or optional, whose elements keep their type"
    if node.op.startswith("Scatter") and node.attr("reduction", "none") != "none":
        return f"{node.op} sums up, which onnxruntime does for float32 alone"
    if not signature(node.op, opset).takes_half(node, types.is_float):
        return f"{node.op} takes no float16 at opset {opset}"
    return None


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
