"""What a rule of this room sees: the facts about the tensors, and a place to say what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeAlias

from graphopt.ir import Array, Model, Node, Tensor
from graphopt.ir.analysis.facts import Facts, gather_facts

# These yield a new value at each run: two of them are never one, and none is known beforehand.
RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


class View:
    """The model as one round of rules sees it; ``done`` counts what the round changed."""

    def __init__(self, model: Model, say: Callable[[str, str], None]) -> None:
        self.model = model
        self.done = 0
        self.fused: Mapping[Node, Node] = {}  # nodes that a runtime fuses, each with the last of its part
        self._say = say

    @cached_property
    def facts(self) -> Facts:
        """What is known of the tensors, gathered when a rule of this round first asks.

        Of what the round adds afterwards nothing is known, which costs a rule its chance until the next
        round and nothing else.
        """
        self.model.sort()
        return gather_facts(self.model)

    def changed(self, node: Node | str, what: str) -> None:
        """Record a change."""
        self.done += 1
        name = (
            node
            if isinstance(node, str)
            else node.name or (node.outputs[0].name if node.outputs else node.op)
        )
        self._say(name, what)

    def constant(self, tensor: Tensor | None) -> Array | None:
        """The value of a tensor, when it is a constant."""
        return None if tensor is None else tensor.constant

    def same_shape(self, left: Tensor, right: Tensor) -> bool:
        """Whether two tensors certainly have the same shape; equal symbols count as equal."""
        a, b = self.facts.shape(left), self.facts.shape(right)
        return a is not None and a == b and None not in a


# Rewrites around a node and says how; None when there was nothing to do.
Rule: TypeAlias = Callable[[Node, View], "str | None"]
