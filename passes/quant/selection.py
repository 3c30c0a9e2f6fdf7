"""Which models and which of their nodes a user wants quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from graphopt.errors import UsageError
from graphopt.ir import Model, Node

from .rules import LAYERS

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
            if _matches(node, pattern):
                return f"exclude={pattern}"
        if self.include and node.op in LAYERS and not any(_matches(node, p) for p in self.include):
            return "include does not name it"
        return None

    def refuse_unmatched(self, model: Model) -> None:
        """Raise UsageError for a pattern that names nothing: it is a typing error."""
        for option_name, patterns in (("include", self.include), ("exclude", self.exclude)):
            for pattern in patterns:
                if not any(_matches(node, pattern) for node in model.graph.nodes):
                    raise UsageError(
                        f"quant: {option_name}={pattern} matches no node of the model",
                        hint="graphopt inspect MODEL --layers lists the names",
                    )


def _matches(node: Node, pattern: str) -> bool:
    """Whether a pattern means a node, by its name or its first output's."""
    outputs = [tensor.name for tensor in node.outputs[:1]]
    return any(fnmatchcase(name, pattern) for name in (node.name, *outputs) if name)


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
