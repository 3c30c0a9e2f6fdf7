"""The pass: rounds of small rules until none finds anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.ir import Graph, Model, convert_opset
from graphopt.passes.clean.affine import AFFINE_RULES
from graphopt.passes.clean.branches import inline_constant_branches
from graphopt.passes.clean.constants import fold_constants, lift_constants
from graphopt.passes.clean.defaults import freeze_defaults
from graphopt.passes.clean.duplicates import merge_equal_initializers, merge_equal_nodes
from graphopt.passes.clean.merges import MERGE_RULES
from graphopt.passes.clean.noops import NOOP_RULES
from graphopt.passes.clean.padding import PADDING_RULES
from graphopt.passes.clean.patterns import PATTERN_RULES
from graphopt.passes.clean.rules import Rule, View
from graphopt.pipeline import Context, Contract, Pass, option

MAX_ROUNDS = 8  # two or three are the rule; each is linear in the nodes

SMALL = 1024  # bytes of a constant that is compared in every round; the large ones are read once, at the end

LOCAL_RULES: dict[str, list[Rule]] = {}
for _table in (NOOP_RULES, MERGE_RULES, PADDING_RULES, PATTERN_RULES, AFFINE_RULES):
    for _op, _rules in _table.items():
        LOCAL_RULES.setdefault(_op, []).extend(_rules)


@dataclass(frozen=True)
class Clean(Pass):
    """Remove what computes nothing: constants, no-ops, duplicates, dead nodes; fold constants into layers."""

    name: ClassVar[str] = "clean"
    contract: ClassVar[Contract] = Contract.EXACT

    fold_limit: int = option(
        16384, "largest constant, in bytes, that folding may add beyond the constants it replaces", minimum=0
    )
    patterns: bool = option(
        True, "write HardSwish, HardSigmoid and Gelu that are spelled out as one operator"
    )
    freeze: bool = option(
        False, "treat initializers that are also inputs as constants; they are no inputs any more"
    )
    opset: int | None = option(None, "convert to this opset first", minimum=7)

    @property
    def keeps_signature(self) -> bool:
        """Freezing takes inputs away that had a default."""
        return not self.freeze

    def run(self, model: Model, ctx: Context) -> None:
        """Clean the graph and all subgraphs."""
        if self.opset is not None and self.opset > model.opset:
            ctx.changed("model", f"opset {model.opset} -> {self.opset}")
            convert_opset(model, self.opset)
        if self.freeze:
            freeze_defaults(model, ctx)
        for _ in range(MAX_ROUNDS):
            view = View(model, ctx.changed)
            self._round(view)
            if not view.done:
                break
        for graph in model.graphs():
            merge_equal_initializers(graph, View(model, ctx.changed))

    def _round(self, view: View) -> None:
        inline_constant_branches(view)
        for graph in list(view.model.graphs()):
            lift_constants(graph, view)
            fold_constants(graph, view, self.fold_limit)
            self._local(graph, view)
            merge_equal_initializers(graph, view, limit=SMALL)
            merge_equal_nodes(graph, view)
        for graph in list(view.model.graphs()):
            _remove_dead(graph, view)
        view.model.sort()

    def _local(self, graph: Graph, view: View) -> None:
        for node in graph.find(*LOCAL_RULES):
            for rule in LOCAL_RULES[node.op]:
                if not self.patterns and rule in PATTERN_RULES.get(node.op, ()):
                    continue
                title = node.name or node.outputs[0].name
                if what := rule(node, view):
                    view.changed(title, what)
                    if node.graph is None:
                        break


def _remove_dead(graph: Graph, view: View) -> None:
    if count := graph.remove_dead():
        view.changed(graph.name or "graph", f"{count} nodes that no output depends on are gone")
    if count := graph.remove_unused_initializers():
        view.changed(graph.name or "graph", f"{count} constants that nobody reads are gone")
