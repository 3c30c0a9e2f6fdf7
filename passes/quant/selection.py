"""Which models are left alone: those that are quantized already, and all for a target without pairs."""

from __future__ import annotations

from collections import Counter

from graphopt.ir import Model
from graphopt.targets import Target

QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


def refusal_of(model: Model) -> str | None:
    """Why the whole model is left alone, or None."""
    counts = Counter(
        node.op
        for graph in model.graphs()
        for node in graph.nodes
        if node.op in QUANTIZED_OPS or node.op.startswith(("QLinear", "QGemm"))
    )
    if not counts:
        return None
    ops = ", ".join(f"{count} {op}" for op, count in counts.most_common(3))
    return f"it is quantized already ({ops}); give the float model"


def form_refusal(target: Target) -> str | None:
    """Why a target is given no integers by this pass, or None."""
    if target.form != "float":
        return None
    if "litert-calibration" in target.companions:
        return (
            f"{target.runtime} answers wrongly to quantized ONNX files; its converter quantizes by itself, "
            "with the calibration arrays that are written beside the result"
        )
    return f"{target.runtime} is given float models: it does not run quantized ONNX files"
