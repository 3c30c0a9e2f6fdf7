"""What a rule of this room sees: the facts about the tensors, and a place to say what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from graphopt.ir import Array, Model, Node, Tensor
from graphopt.ir.facts import Facts


@dataclass
class View:
    """The model as one round of rules sees it.

    ``facts`` were gathered when the round began; of what the round itself adds nothing is known, which
    costs a rule its chance until the next round and nothing else.
    """

    model: Model
    facts: Facts
    say: Callable[[str, str], None]
    done: int = field(default=0)

    def changed(self, node: Node | str, what: str) -> None:
        """Record a change."""
        self.done += 1
        name = node if isinstance(node, str) else node.name or (node.outputs[0].name if node.outputs else node.op)
        self.say(name, what)

    def constant(self, tensor: Tensor | None) -> Array | None:
        """The value of a tensor that is known beforehand, computed ones included when small."""
        if tensor is None:
            return None
        value = tensor.constant
        return self.facts.known_value(tensor) if value is None else value

    def same_shape(self, left: Tensor, right: Tensor) -> bool:
        """Whether two tensors certainly have the same shape; equal symbols count as equal."""
        a, b = self.facts.shape(left), self.facts.shape(right)
        return a is not None and a == b and None not in a


Rule: TypeAlias = Callable[[Node, View], "str | None"]  # rewrites around a node and says how; None: nothing to do
