"""A pass from outside: it gives every node a loud name, and shows how loud the input is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from graphopt.pipeline import Context, Contract, Pass, option

if TYPE_CHECKING:
    from graphopt.ir import Model

MEGAPHONE = Path(__file__).with_name("megaphone.toml")


@dataclass(frozen=True)
class Shout(Pass):
    """Rename every node to capital letters."""

    name: ClassVar[str] = "shout"
    contract: ClassVar[Contract] = Contract.EXACT
    suffix: str = option("!", "what every name ends with")

    def run(self, model: Model, ctx: Context) -> None:
        """Rename in place."""
        name = model.signature.inputs[0].name
        (loudest,) = ctx.collect(model, {name: ["loudest"]})[name]
        ctx.figure("dial", f"loudest value of {name}", {"value": loudest.value})
        for node in model.graph.nodes:
            old, node.name = node.name, node.name.upper() + self.suffix
            ctx.changed(node, f"was {old}")
