"""Which models and which of their nodes a user wants quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.ir import Model, Node
from graphopt.pipeline.contract.patterns import matches_name, refuse_unmatched

from .placement.rules import LAYERS

QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


@dataclass(frozen=True)
class Selection:
    """Patterns of the only layers to store, and of nodes that stay float; names, * and ?."""

    include: Sequence[str]
    exclude: Sequence[str]

    def refusal(self, node: Node) -> str | None:
        """The user's reason against a node, or None."""
        for pattern in self.exclude:
            if matches_name(node, pattern):
                return f"exclude={pattern}"
        if self.include and node.op in LAYERS and not any(matches_name(node, p) for p in self.include):
            return "include does not name it"
        return None

    def refuse_unmatched(self, model: Model) -> None:
        """Raise UsageError for a pattern that names nothing: it is a typing error."""
        refuse_unmatched(model, "quant", {"include": self.include, "exclude": self.exclude})


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
