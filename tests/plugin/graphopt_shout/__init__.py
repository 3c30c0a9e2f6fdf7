"""A pass from outside: it gives every node a loud name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from graphopt.pipeline import Context, Contract, Pass, option

if TYPE_CHECKING:
    from graphopt.ir import Model


@dataclass(frozen=True)
class Shout(Pass):
    """Rename every node to capital letters."""

    name: ClassVar[str] = "shout"
    contract: ClassVar[Contract] = Contract.EXACT
    suffix: str = option("!", "what every name ends with")

    def run(self, model: Model, ctx: Context) -> None:
        """Rename in place."""
        for node in model.graph.nodes:
            old, node.name = node.name, node.name.upper() + self.suffix
            ctx.changed(node, f"was {old}")
