"""The pass: rounds of small rules until none finds anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, TypeAlias

from graphopt.ir import Graph, Model, Node, convert_opset
from graphopt.passes.clean.folding.budget import FileBudget
from graphopt.passes.clean.folding.constants import fold_constants, lift_constants
from graphopt.passes.clean.folding.defaults import freeze_defaults
from graphopt.passes.clean.rules.affine import AFFINE_RULES
from graphopt.passes.clean.rules.base import Rule, View
from graphopt.passes.clean.rules.branches import inline_constant_branches
from graphopt.passes.clean.rules.duplicates import merge_equal_initializers, merge_equal_nodes
from graphopt.passes.clean.rules.fused import fused_nodes
from graphopt.passes.clean.rules.merges import MERGE_RULES
from graphopt.passes.clean.rules.noops import NOOP_RULES
from graphopt.passes.clean.rules.normalization import NORM_RULES
from graphopt.passes.clean.rules.padding import PADDING_RULES
from graphopt.passes.clean.rules.patterns import PATTERN_RULES
from graphopt.pipeline import Context, Contract, Pass, option

MAX_ROUNDS = 8  # time: two or three are the rule; each is linear in the nodes

SMALL = 1024  # time: bytes of a constant that every round compares; large ones are read once, at the end

RuleTable: TypeAlias = Mapping[str, Sequence[Rule]]


def _joined(*tables: RuleTable) -> RuleTable:
    ops = dict.fromkeys(chain.from_iterable(tables))
    return {op: [rule for table in tables for rule in table.get(op, ())] for op in ops}


_CAUSE = "results computed beforehand take more room than the nodes that computed them"
TIDYING_RULES = _joined(NOOP_RULES, MERGE_RULES, PADDING_RULES)
SPELLING_RULES = _joined(NORM_RULES, PATTERN_RULES)


@dataclass(frozen=True)
class Clean(Pass):
    """Remove what computes nothing: constants, no-ops, duplicates, dead nodes; fold constants into layers."""

    name: ClassVar[str] = "clean"
    contract: ClassVar[Contract] = Contract.EXACT

    fold_limit: int = option(0, "bytes by which folding may make the file larger than the input's", minimum=0)
    patterns: bool = option(
        True, "write HardSwish, HardSigmoid, Gelu and LayerNormalization that are spelled out as one operator"
    )
    freeze: bool = option(
        False, "treat initializers that are also inputs as constants; they are no inputs any more"
    )
    opset: int | None = option(None, "convert to this opset first", minimum=7)

    @property
    def keeps_signature(self) -> bool:
        """Freezing takes inputs away that had a default."""
        return not self.freeze

    @property
    def is_for_speed(self) -> bool:
        """Unless another opset or signature is asked for."""
        return self.opset is None and not self.freeze

    def run(self, model: Model, ctx: Context) -> None:
        """Clean the graph and all subgraphs."""
        if self.opset is not None and self.opset > model.opset:
            ctx.changed("model", f"opset {model.opset} -> {self.opset}")
            convert_opset(model, self.opset)
        if self.freeze:
            freeze_defaults(model, ctx)
        budget = FileBudget(model, self.fold_limit)
        for _ in range(MAX_ROUNDS):
            view = View(model, ctx.changed)
            self._round(view, budget)
            if not view.done:
                break
        for graph in model.graphs():
            merge_equal_initializers(graph, View(model, ctx.changed))
        if ctx.changes and (growth := model.file_bytes - budget.before) > 0:
            ctx.warn(f"clean: the file is {growth} bytes larger, because {_CAUSE}")

    def _round(self, view: View, budget: FileBudget) -> None:
        budget.forget()
        inline_constant_branches(view)
        for graph in list(view.model.graphs()):
            lift_constants(graph, view)
            fold_constants(graph, view, budget)
            self._local(graph, view)
            merge_equal_initializers(graph, view, limit=SMALL)
            merge_equal_nodes(graph, view)
        for graph in list(view.model.graphs()):
            _remove_dead(graph, view)
        view.model.sort()

    def _local(self, graph: Graph, view: View) -> None:
        """Apply the rules around single nodes; what a runtime fuses is only ever spelled in another way."""
        view.fused = fused_nodes(graph, view)
        _apply(TIDYING_RULES, graph, view, but=view.fused)
        if self.patterns:
            _apply(SPELLING_RULES, graph, view)
        view.fused = fused_nodes(graph, view)  # tidying brings parts to light
        _apply(AFFINE_RULES, graph, view, but=view.fused)


def _apply(rules: RuleTable, graph: Graph, view: View, but: Collection[Node] = ()) -> None:
    """Apply the rules of each node's operator, in the order of the nodes; ``but`` stay as they are."""
    for node in graph.find(*rules):
        title = node.name or (node.outputs[0].name if node.outputs else node.op)
        for rule in () if node in but else rules[node.op]:
            if what := rule(node, view):
                view.changed(title, what)
                if node.graph is None:
                    break


def _remove_dead(graph: Graph, view: View) -> None:
    if count := graph.remove_dead():
        view.changed(graph.name or "graph", f"{count} nodes removed that no output depends on")
    if count := graph.remove_unused_initializers():
        view.changed(graph.name or "graph", f"{count} unused constants removed")
