"""Which models are left alone, because they are quantized already."""

from __future__ import annotations

from collections import Counter

from graphopt.ir import Model

QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


def refusal_of(model: Model) -> str | None:
    """Why the whole model is left alone, or None."""
    found = Counter(
        node.op
        for graph in model.graphs()
        for node in graph.nodes
        if node.op in QUANTIZED_OPS or node.op.startswith(("QLinear", "QGemm"))
    )
    if not found:
        return None
    ops = ", ".join(f"{count} {op}" for op, count in found.most_common(3))
    return f"it is quantized already ({ops}); give the float model"
